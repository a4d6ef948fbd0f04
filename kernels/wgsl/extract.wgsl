// Coefficients of turned polynomials as large ciphertexts, as words of the torus: a word of a read for each invocation.

struct Read {
    ciphertext: u32,
    coefficient: u32,
}

@group(0) @binding(0) var<storage, read> rings: array<u64>;
@group(0) @binding(1) var<storage, read> reads: array<Read>;
@group(0) @binding(2) var<storage, read_write> results: array<u64>;

@compute @workgroup_size(THREADS)
fn extract(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    if word < LWE_WORDS {
        results[group.y * LWE_WORDS + word] = from_q(residue(reads[group.y], word));
    }
    end_group(thread);
}

// A word of the coefficient as a large ciphertext: the mask a_i, a_{i-1}, …, a_0, -a_{N-1}, …, and the body b_i.
fn residue(read: Read, word: u32) -> u64 {
    let mask = read.ciphertext * 2u * N;
    let body = mask + N;
    if word == N {
        return rings[body + read.coefficient];
    }
    if word <= read.coefficient {
        return rings[mask + read.coefficient - word];
    }
    return negative_q(rings[body + read.coefficient - word]);
}
