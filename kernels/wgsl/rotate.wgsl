// The blind rotation modulo Q, some bits of it, one ciphertext a workgroup: kernels/src/rns/rotation.rs, to the bit.
//
// Mask and body stay in registers, eight coefficients of each with an invocation. Workgroup memory holds one ring at a time, for
// who turns it, or an exchange of a transform: 16 KiB.

// Of each slot: [bit][digits of][for][prime][point], as RnsKey::words has them.
@group(0) @binding(0) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> roots: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> tasks: array<Task>;
@group(0) @binding(3) var<storage, read> turns: array<u32>;
@group(0) @binding(4) var<storage, read_write> rings: array<u64>;

struct Slice {
    // The first ciphertext.
    first: u32,
    // Bits of the small key.
    begin: u32,
    end: u32,
}
var<immediate> slice: Slice;

// Eight coefficients, at the first places.
alias Ring = array<u64, 8>;

fn lend(thread: u32, j: u32, residue: u64) {
    give(first_places(thread), j, u32(residue), u32(residue >> 32u));
}

// The digit of coefficient j of an invocation's of (X^turn - 1) * ring, of which this is that of the ring.
fn digit_of(residue: u64, thread: u32, j: u32, turn: u32) -> u32 {
    let place = (thread + 256u * j - turn) & (2u * N - 1u);
    let halves = shared_pairs[bank(place & (N - 1u))];
    let lent = u64(halves.x) | (u64(halves.y) << 32u);
    let turned = select(negative_q(lent), lent, place < N);
    return digit(sub_q(turned, residue));
}

// Digits of (X^turn - 1) * ring, modulo both primes.
fn digits_of(ring: Ring, thread: u32, turn: u32) -> Pair {
    workgroupBarrier();
    lend(thread, 0u, ring[0]);
    lend(thread, 1u, ring[1]);
    lend(thread, 2u, ring[2]);
    lend(thread, 3u, ring[3]);
    lend(thread, 4u, ring[4]);
    lend(thread, 5u, ring[5]);
    lend(thread, 6u, ring[6]);
    lend(thread, 7u, ring[7]);
    workgroupBarrier();
    let a = vec4<u32>(
        digit_of(ring[0], thread, 0u, turn), digit_of(ring[1], thread, 1u, turn),
        digit_of(ring[2], thread, 2u, turn), digit_of(ring[3], thread, 3u, turn),
    );
    let b = vec4<u32>(
        digit_of(ring[4], thread, 4u, turn), digit_of(ring[5], thread, 5u, turn),
        digit_of(ring[6], thread, 6u, turn), digit_of(ring[7], thread, 7u, turn),
    );
    return Pair(Points(of_signed(P0, a), of_signed(P0, b)), Points(of_signed(P1, a), of_signed(P1, b)));
}

// What digits of mask and body give modulo a prime. `by_mask`: where the polynomial lies that the mask's digits are multiplied with.
fn product(p: u32, minus_inverse: u32, of_mask: Points, of_body: Points, by_mask: u32) -> Points {
    let by_body = by_mask + N;
    return Points(
        dot_reduced(p, minus_inverse, of_mask.a, keys[by_mask], of_body.a, keys[by_body]),
        dot_reduced(p, minus_inverse, of_mask.b, keys[by_mask + 1u], of_body.b, keys[by_body + 1u]),
    );
}

// The ring with what the digits give for it. `row`: where the key's polynomials for it lie, that of the mask's digits first.
fn grown(ring: Ring, of_mask: Pair, of_body: Pair, thread: u32, row: u32) -> Ring {
    let pair = transform_back(
        Pair(
            product(P0, MINUS_INVERSE_0, of_mask.of_p0, of_body.of_p0, row),
            product(P1, MINUS_INVERSE_1, of_mask.of_p1, of_body.of_p1, row + N / 4u),
        ),
        thread,
    );
    let a = pair.of_p0.a;
    let b = pair.of_p0.b;
    let times_a = garner(a, pair.of_p1.a);
    let times_b = garner(b, pair.of_p1.b);
    return Ring(
        add_q(ring[0], joined(a.x, times_a.x)), add_q(ring[1], joined(a.y, times_a.y)),
        add_q(ring[2], joined(a.z, times_a.z)), add_q(ring[3], joined(a.w, times_a.w)),
        add_q(ring[4], joined(b.x, times_b.x)), add_q(ring[5], joined(b.y, times_b.y)),
        add_q(ring[6], joined(b.z, times_b.z)), add_q(ring[7], joined(b.w, times_b.w)),
    );
}

fn loaded(at: u32) -> Ring {
    return Ring(
        rings[at], rings[at + 256u], rings[at + 512u], rings[at + 768u],
        rings[at + 1024u], rings[at + 1280u], rings[at + 1536u], rings[at + 1792u],
    );
}

fn store(at: u32, ring: Ring) {
    rings[at] = ring[0];
    rings[at + 256u] = ring[1];
    rings[at + 512u] = ring[2];
    rings[at + 768u] = ring[3];
    rings[at + 1024u] = ring[4];
    rings[at + 1280u] = ring[5];
    rings[at + 1536u] = ring[6];
    rings[at + 1792u] = ring[7];
}

@compute @workgroup_size(THREADS)
fn rotate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let ciphertext = slice.first + group.x;
    let at = ciphertext * 2u * N + thread;
    var mask = loaded(at);
    var body = loaded(at + N);
    // Four numbers of a key are one; a polynomial modulo a prime is N / 4 of them.
    let key = tasks[ciphertext].slot * SMALL * 2u * N;
    for (var bit = slice.begin; bit < slice.end; bit++) {
        let turn = turns[ciphertext * SMALL_WORDS + bit];
        let of_mask = transform(digits_of(mask, thread, turn), thread);
        let of_body = transform(digits_of(body, thread, turn), thread);
        let row = key + bit * 2u * N + 2u * thread;
        mask = grown(mask, of_mask, of_body, thread, row);
        body = grown(body, of_mask, of_body, thread, row + N / 2u);
    }
    store(at, mask);
    store(at + N, body);
    end_group(thread);
}
