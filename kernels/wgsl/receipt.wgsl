// How many workgroups have ended. Some drivers end long work before it is done and tell nobody (Metal's do, and the library does not
// ask them): the host counts.

@group(0) @binding(9) var<storage, read_write> ended: atomic<u32>;

// The last thing that every invocation of a workgroup does.
fn end_group(thread: u32) {
    storageBarrier();
    if thread == 0u {
        atomicAdd(&ended, 1u);
    }
}
