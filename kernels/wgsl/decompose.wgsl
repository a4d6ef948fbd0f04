// The first half of a keyswitch: balanced digits of each word of the mask, and a small ciphertext that holds the rounded body.
// Word for word what tfhe-rs's SignedDecomposer gives, for base 2^4 and four levels.

@group(0) @binding(0) var<storage, read> inputs: array<u64>;
// Of each word, its four digits as bytes, the last level (which the key has first) lowest.
@group(0) @binding(1) var<storage, read_write> digits: array<u32>;
@group(0) @binding(2) var<storage, read_write> smalls: array<u32>;

fn digits_of(word: u64) -> u32 {
    // The top 16 bits, rounded; what lies halfway between two signs takes the sign that it was rounded away from.
    let top = u32(word >> 47u);
    let places = ((top + 1u) >> 1u) & 0xffffu;
    let negative = (((places - 1u) | ((top & 1u) << 15u)) & places) >> 15u;
    var rest = places - (negative << 16u);
    var packed = 0u;
    for (var level = 0u; level < 4u; level++) {
        let low = rest & 15u;
        rest = bitcast<u32>(bitcast<i32>(rest) >> 4u);
        let carry = (((low - 1u) | rest) & low) >> 3u;
        rest += carry;
        packed |= ((low - (carry << 4u)) & 0xffu) << (8u * level);
    }
    return packed;
}

@compute @workgroup_size(THREADS)
fn decompose(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    let first = group.y * LWE_WORDS;
    digits[group.y * N + word] = digits_of(inputs[first + word]);
    if word < SMALL_WORDS {
        // The top 32 bits of the body, rounded to nearest.
        let body = u32(((inputs[first + N] >> 31u) + 1lu) >> 1u);
        smalls[group.y * SMALL_WORDS + word] = select(0u, body, word == SMALL);
    }
    end_group(thread);
}
