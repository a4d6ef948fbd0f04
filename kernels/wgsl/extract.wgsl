// Coefficients of turned polynomials as large ciphertexts, as words of the torus: a word of a read for each invocation.

struct Read {
    ciphertext: u32,
    // And above its 16 bits, how many upper bits of each word are kept.
    coefficient_and_keep: u32,
}

// Rounded to the upper bits that are kept, halves up.
fn kept(word: u64, keep: u32) -> u64 {
    if keep >= 64u {
        return word;
    }
    let unit = 1lu << (64u - keep);
    return (word + (unit >> 1u)) & ~(unit - 1lu);
}

@group(0) @binding(0) var<storage, read> rings: array<u64>;
@group(0) @binding(1) var<storage, read> reads: array<Read>;
@group(0) @binding(2) var<storage, read_write> results: array<u64>;

@compute @workgroup_size(THREADS)
fn extract(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    if word < LWE_WORDS {
        let read = reads[group.y];
        let kept_bits = read.coefficient_and_keep >> 16u;
        results[group.y * LWE_WORDS + word] = kept(from_q(residue(read, word)), kept_bits);
    }
    end_group(thread);
}

// A word of the coefficient as a large ciphertext: the mask a_i, a_{i-1}, …, a_0, -a_{N-1}, …, and the body b_i.
fn residue(read: Read, word: u32) -> u64 {
    let coefficient = read.coefficient_and_keep & 0xffffu;
    let mask = read.ciphertext * 2u * N;
    let body = mask + N;
    if word == N {
        return rings[body + coefficient];
    }
    if word <= coefficient {
        return rings[mask + coefficient - word];
    }
    return negative_q(rings[body + coefficient - word]);
}
