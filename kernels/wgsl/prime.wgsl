// Arithmetic modulo the two primes, and modulo their product Q: kernels/src/rns, to the bit, four at a time.

const P0: u32 = 2147389441u;
const P1: u32 = 2147377153u;
// -1 / p modulo 2^32.
const MINUS_INVERSE_0: u32 = 1862176767u;
const MINUS_INVERSE_1: u32 = 3690881023u;
// 1 / p0 modulo p1, and floor(that * 2^32 / p1).
const INVERSE_P0: u32 = 2147202399u;
const INVERSE_P0_OVER_P1: u32 = 4294617770u;

const Q: u64 = 4611255024196841473lu;
// floor(2^125 / Q), and (2^64 / Q - 4) * 2^64 rounded: see rns.rs.
const TO_61_BITS: u64 = 9224234105882233266lu;
const BEYOND_FOUR: u64 = 6896552219659672lu;

// A residue is below its prime, which is below 2^31: of a number and the same less or plus p, the smaller one is reduced.

fn add(p: u32, a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let sum = a + b;
    return min(sum, sum - p);
}

fn sub(p: u32, a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let difference = a - b;
    return min(difference, difference + p);
}

// The upper half of a product. Numbers of 64 bits are never in vectors: Metal's compiler may refuse to shift those.
fn high_half(a: u32, b: u32) -> u32 {
    return u32((u64(a) * u64(b)) >> 32u);
}

// By constant factors, with floor(factor * 2^32 / p) beside them (Shoup's way, in NTL's mulmod).
fn mul(p: u32, a: vec4<u32>, factor: vec4<u32>, over_p: vec4<u32>) -> vec4<u32> {
    let quotient = vec4<u32>(
        high_half(a.x, over_p.x), high_half(a.y, over_p.y), high_half(a.z, over_p.z), high_half(a.w, over_p.w),
    );
    let rest = a * factor - quotient * p;
    return min(rest, rest - p);
}

// (a * by + c * along) / 2^32 modulo p (Montgomery 1985), below 2p. Sums lie below 2^64.
fn dot_halved(p: u32, minus_inverse: u32, a: u32, by: u32, c: u32, along: u32) -> u32 {
    let sum = u64(a) * u64(by) + u64(c) * u64(along);
    let times = u32(sum) * minus_inverse;
    return u32((sum + u64(times) * u64(p)) >> 32u);
}

fn dot_reduced(p: u32, minus_inverse: u32, a: vec4<u32>, by: vec4<u32>, c: vec4<u32>, along: vec4<u32>) -> vec4<u32> {
    let rest = vec4<u32>(
        dot_halved(p, minus_inverse, a.x, by.x, c.x, along.x), dot_halved(p, minus_inverse, a.y, by.y, c.y, along.y),
        dot_halved(p, minus_inverse, a.z, by.z, c.z, along.z), dot_halved(p, minus_inverse, a.w, by.w, c.w, along.w),
    );
    return min(rest, rest - p);
}

fn of_signed(p: u32, value: vec4<u32>) -> vec4<u32> {
    return min(value, value + p);
}

fn add_q(a: u64, b: u64) -> u64 {
    let sum = a + b;
    return select(sum, sum - Q, sum >= Q);
}

fn sub_q(a: u64, b: u64) -> u64 {
    return select(a - b, a + (Q - b), a < b);
}

fn negative_q(a: u64) -> u64 {
    return select(Q - a, 0lu, a == 0lu);
}

// The upper half of a product.
fn mul_high(a: u64, b: u64) -> u64 {
    let a_low = a & 0xfffffffflu;
    let a_high = a >> 32u;
    let b_low = b & 0xfffffffflu;
    let b_high = b >> 32u;
    let middle = a_high * b_low + ((a_low * b_low) >> 32u);
    let other = a_low * b_high + (middle & 0xfffffffflu);
    return a_high * b_high + (middle >> 32u) + (other >> 32u);
}

// The signed digit of a residue, in -2^22..2^22.
fn digit(residue: u64) -> u32 {
    let places = u32((mul_high(residue, TO_61_BITS) + (1lu << 37u)) >> 38u);
    return ((places + (1u << 22u)) & ((1u << 23u) - 1u)) - (1u << 22u);
}

// What is to be multiplied with p0 for the residues modulo Q with these residues (Garner 1959). p0 is the greater prime by less than
// p1.
fn garner(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let a_mod_p1 = min(a, a - P1);
    return mul(P1, sub(P1, b, a_mod_p1), vec4<u32>(INVERSE_P0), vec4<u32>(INVERSE_P0_OVER_P1));
}

// The residue with a residue modulo p0, and what `garner` gives for it.
fn joined(a: u32, times: u32) -> u64 {
    return u64(a) + u64(times) * u64(P0);
}

// Back to a word of the torus.
fn from_q(residue: u64) -> u64 {
    return (residue << 2u) + mul_high(residue, BEYOND_FOUR);
}
