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
    if word >= LWE_WORDS {
        return;
    }
    let read = reads[group.y];
    let coefficient = read.coefficient_and_keep & 0xffffu;
    let ring = read.ciphertext * 2u * N;
    var residue: u64;
    if word == N {
        residue = rings[ring + N + coefficient];
    } else if word <= coefficient {
        residue = rings[ring + coefficient - word];
    } else {
        residue = negative_q(rings[ring + N + coefficient - word]);
    }
    results[group.y * LWE_WORDS + word] = kept(from_q(residue), read.coefficient_and_keep >> 16u);
}
