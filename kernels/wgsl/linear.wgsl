// Sums of weight * ciphertext, and a constant, modulo 2^64: a word of a row for each invocation.

// A sum, or a part of one: what has room in the buffer of terms.
struct Row {
    constant: u64,
    sum: u32,
    first: u32,
    end: u32,
    // Not 0 if what the sum held is to be added to.
    more: u32,
}

struct Term {
    weight: u64,
    input: u32,
}

@group(0) @binding(0) var<storage, read> inputs: array<u64>;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> terms: array<Term>;
@group(0) @binding(3) var<storage, read_write> sums: array<u64>;

@compute @workgroup_size(THREADS)
fn linear(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = group.x * THREADS + thread;
    if word < LWE_WORDS {
        add_up(rows[group.y], word);
    }
    end_group(thread);
}

fn add_up(row: Row, word: u32) {
    let at = row.sum * LWE_WORDS + word;
    var sum = 0lu;
    if row.more != 0u {
        sum = sums[at];
    } else if word == N {
        sum = row.constant;
    }
    for (var index = row.first; index < row.end; index++) {
        let term = terms[index];
        sum += term.weight * inputs[term.input * LWE_WORDS + word];
    }
    sums[at] = sum;
}
