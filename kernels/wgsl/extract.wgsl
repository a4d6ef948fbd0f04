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
    if word >= LWE_WORDS {
        return;
    }
    let read = reads[group.y];
    let ring = read.ciphertext * 2u * N;
    var residue: u64;
    if word == N {
        residue = rings[ring + N + read.coefficient];
    } else if word <= read.coefficient {
        residue = rings[ring + read.coefficient - word];
    } else {
        residue = negative_q(rings[ring + N + read.coefficient - word]);
    }
    results[group.y * LWE_WORDS + word] = from_q(residue);
}
