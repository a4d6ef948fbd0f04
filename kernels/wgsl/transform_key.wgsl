// A bootstrap key modulo Q, transformed: a polynomial a workgroup. What RnsKey::new gives, to the bit.

// Polynomials modulo 2^64.
@group(0) @binding(0) var<storage, read> polynomials: array<u64>;
@group(0) @binding(1) var<storage, read> roots: array<vec2<u32>>;
// As rotate.wgsl has them.
@group(0) @binding(2) var<storage, read_write> keys: array<vec4<u32>>;

struct Target {
    // Of the first polynomial, among those of all slots.
    first: u32,
}
var<immediate> target_place: Target;

// round(word * Q / 2^64), modulo Q.
fn to_q(word: u64) -> u64 {
    let scaled = mul_high(word, Q) + ((word * Q) >> 63u);
    return select(scaled, 0lu, scaled == Q);
}

// floor(2^64 / p).
const RECIPROCAL_0: u64 = 8590311436lu;
const RECIPROCAL_1: u64 = 8590360593lu;

// Modulo p (Barrett 1986): the quotient is short by one at most.
fn reduced(p: u32, reciprocal: u64, value: u64) -> u32 {
    let rest = u32(value - mul_high(value, reciprocal) * u64(p));
    return min(rest, rest - p);
}

// Coefficient j of an invocation's, modulo each prime.
fn residues(polynomial: u32, thread: u32, j: u32) -> vec2<u32> {
    let residue = to_q(polynomials[polynomial * N + thread + 256u * j]);
    return vec2<u32>(reduced(P0, RECIPROCAL_0, residue), reduced(P1, RECIPROCAL_1, residue));
}

@compute @workgroup_size(THREADS)
fn transform_key(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let c0 = residues(group.x, thread, 0u);
    let c1 = residues(group.x, thread, 1u);
    let c2 = residues(group.x, thread, 2u);
    let c3 = residues(group.x, thread, 3u);
    let c4 = residues(group.x, thread, 4u);
    let c5 = residues(group.x, thread, 5u);
    let c6 = residues(group.x, thread, 6u);
    let c7 = residues(group.x, thread, 7u);
    let pair = transform(
        Pair(
            Points(vec4<u32>(c0.x, c1.x, c2.x, c3.x), vec4<u32>(c4.x, c5.x, c6.x, c7.x)),
            Points(vec4<u32>(c0.y, c1.y, c2.y, c3.y), vec4<u32>(c4.y, c5.y, c6.y, c7.y)),
        ),
        thread,
    );
    // Four numbers are one here.
    let at = (target_place.first + group.x) * (N / 2u) + 2u * thread;
    keys[at] = pair.of_p0.a;
    keys[at + 1u] = pair.of_p0.b;
    keys[at + N / 4u] = pair.of_p1.a;
    keys[at + N / 4u + 1u] = pair.of_p1.b;
    end_group(thread);
}
