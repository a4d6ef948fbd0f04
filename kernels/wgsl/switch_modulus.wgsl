// The centred switch of small ciphertexts to 2N: word for word tfhe-rs's lwe_ciphertext_centered_binary_modulus_switch.

@group(0) @binding(0) var<storage, read> smalls: array<u32>;
@group(0) @binding(1) var<storage, read_write> turns: array<u32>;

// Of the mask's words: half of the rounding's error, and what twice that half is off the error.
var<workgroup> halves: atomic<u32>;
var<workgroup> doubled: atomic<i32>;

fn switched(word: u32) -> u32 {
    return (word + (1u << 19u)) >> 20u;
}

// Half of it, towards zero.
fn half(value: i32) -> i32 {
    return (value - (value >> 31u)) >> 1u;
}

@compute @workgroup_size(THREADS)
fn switch_modulus(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = group.x * SMALL_WORDS;
    if thread == 0u {
        atomicStore(&halves, 0u);
        atomicStore(&doubled, 0);
    }
    workgroupBarrier();
    for (var at = thread; at < SMALL; at += THREADS) {
        let word = smalls[first + at];
        let turn = switched(word);
        turns[first + at] = turn;
        let error = bitcast<i32>((turn << 20u) - word);
        let half_of_it = half(error);
        atomicAdd(&halves, bitcast<u32>(half_of_it));
        atomicAdd(&doubled, 2 * half_of_it - error);
    }
    workgroupBarrier();
    if thread == 0u {
        // The expected error of the mask is taken from the body, and half of a step, so that it points at a box's middle.
        let error = atomicLoad(&halves) - bitcast<u32>(half(atomicLoad(&doubled)));
        turns[first + SMALL] = switched(smalls[first + SMALL] + error - (1u << 19u));
    }
    end_group(thread);
}
