// What a blind rotation begins with: X^-turn * table, without a mask. A coefficient of a ciphertext for each invocation.

// Of each table, its polynomial modulo Q.
@group(0) @binding(0) var<storage, read> tables: array<u64>;
@group(0) @binding(1) var<storage, read> tasks: array<Task>;
@group(0) @binding(2) var<storage, read> turns: array<u32>;
// Of each ciphertext, mask and body modulo Q.
@group(0) @binding(3) var<storage, read_write> rings: array<u64>;

@compute @workgroup_size(THREADS)
fn start(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = group.x * THREADS + thread;
    let ciphertext = group.y;
    let turn = turns[ciphertext * SMALL_WORDS + SMALL];
    let place = (at + turn) & (2u * N - 1u);
    let residue = tables[tasks[ciphertext].table * N + (place & (N - 1u))];
    let ring = ciphertext * 2u * N;
    rings[ring + at] = 0lu;
    rings[ring + N + at] = select(negative_q(residue), residue, place < N);
    end_group(thread);
}
