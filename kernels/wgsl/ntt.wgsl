// The negacyclic transform of 2048 points modulo both primes at once, by 256 invocations with eight points each, in registers between
// exchanges.
//
// Longa and Naehrig 2016, algorithms 1 and 2, eleven stages as 3 + 3 + 3 + 2. An invocation's points lie 256 apart for the first three
// stages, 32 apart in blocks of 256 for the next, 4 apart in blocks of 32 for the third, and side by side for the last two. So the
// result is in bit-reversed order, point 8 t + j with invocation t, which is how keys lie.
//
// Whoever includes this has `roots`: of each prime and direction 2048 pairs of a root and ⌊root * 2^32 / p⌋, in bit-reversed order.

struct Points {
    // Points 0 to 3, and 4 to 7.
    a: vec4<u32>,
    b: vec4<u32>,
}

// Of the same polynomial, modulo each prime.
struct Pair {
    of_p0: Points,
    of_p1: Points,
}

// Where the roots of a prime begin, forwards and backwards. None has a use at place 0: backwards it holds what results are scaled by.
const FORWARD_0: u32 = 0u;
const BACKWARD_0: u32 = 2048u;
const FORWARD_1: u32 = 4096u;
const BACKWARD_1: u32 = 6144u;

var<workgroup> shared_pairs: array<vec2<u32>, N>;

// Neighbours' points lie in other banks than each other, in every order that is used here.
fn bank(at: u32) -> u32 {
    return at ^ ((at >> 3u) & 15u);
}

// Point j of an invocation is at `first` + `step` * j.
struct Places {
    first: u32,
    step: u32,
}

fn first_places(thread: u32) -> Places {
    return Places(thread, 256u);
}
fn second_places(thread: u32) -> Places {
    return Places(256u * (thread >> 5u) + (thread & 31u), 32u);
}
fn third_places(thread: u32) -> Places {
    return Places(32u * (thread >> 2u) + (thread & 3u), 4u);
}
fn last_places(thread: u32) -> Places {
    return Places(8u * thread, 1u);
}

fn give(at: Places, j: u32, of_p0: u32, of_p1: u32) {
    shared_pairs[bank(at.first + at.step * j)] = vec2<u32>(of_p0, of_p1);
}

fn taken(at: Places, j: u32) -> vec2<u32> {
    return shared_pairs[bank(at.first + at.step * j)];
}

// Each invocation gives its points at one of the places and takes those at others. Others may still read what was there before.
fn exchange(pair: Pair, here: Places, there: Places) -> Pair {
    workgroupBarrier();
    give(here, 0u, pair.of_p0.a.x, pair.of_p1.a.x);
    give(here, 1u, pair.of_p0.a.y, pair.of_p1.a.y);
    give(here, 2u, pair.of_p0.a.z, pair.of_p1.a.z);
    give(here, 3u, pair.of_p0.a.w, pair.of_p1.a.w);
    give(here, 4u, pair.of_p0.b.x, pair.of_p1.b.x);
    give(here, 5u, pair.of_p0.b.y, pair.of_p1.b.y);
    give(here, 6u, pair.of_p0.b.z, pair.of_p1.b.z);
    give(here, 7u, pair.of_p0.b.w, pair.of_p1.b.w);
    workgroupBarrier();
    let p0 = taken(there, 0u);
    let p1 = taken(there, 1u);
    let p2 = taken(there, 2u);
    let p3 = taken(there, 3u);
    let p4 = taken(there, 4u);
    let p5 = taken(there, 5u);
    let p6 = taken(there, 6u);
    let p7 = taken(there, 7u);
    return Pair(
        Points(vec4<u32>(p0.x, p1.x, p2.x, p3.x), vec4<u32>(p4.x, p5.x, p6.x, p7.x)),
        Points(vec4<u32>(p0.y, p1.y, p2.y, p3.y), vec4<u32>(p4.y, p5.y, p6.y, p7.y)),
    );
}

// Two stages, of which `first` is the place of the first one's first root: points 2 apart, then neighbours.
fn two_stages(p: u32, points: Points, base: u32, first: u32) -> Points {
    let r = roots[base + first];
    let s = roots[base + first + 1u];
    let apart_low = vec4<u32>(points.a.xy, points.b.xy);
    let apart_high = mul(
        p, vec4<u32>(points.a.zw, points.b.zw), vec4<u32>(r.x, r.x, s.x, s.x), vec4<u32>(r.y, r.y, s.y, s.y),
    );
    // Points 0 1 4 5, and 2 3 6 7.
    let c = add(p, apart_low, apart_high);
    let d = sub(p, apart_low, apart_high);
    let at = base + 2u * first;
    let t = roots[at];
    let u = roots[at + 1u];
    let v = roots[at + 2u];
    let w = roots[at + 3u];
    let low = vec4<u32>(c.x, d.x, c.z, d.z);
    let high = mul(p, vec4<u32>(c.y, d.y, c.w, d.w), vec4<u32>(t.x, u.x, v.x, w.x), vec4<u32>(t.y, u.y, v.y, w.y));
    let even = add(p, low, high);
    let odd = sub(p, low, high);
    return Points(vec4<u32>(even.x, odd.x, even.y, odd.y), vec4<u32>(even.z, odd.z, even.w, odd.w));
}

// The other way, with the inverses of roots.
fn two_stages_back(p: u32, points: Points, base: u32, first: u32) -> Points {
    let at = base + 2u * first;
    let t = roots[at];
    let u = roots[at + 1u];
    let v = roots[at + 2u];
    let w = roots[at + 3u];
    let even = vec4<u32>(points.a.xz, points.b.xz);
    let odd = vec4<u32>(points.a.yw, points.b.yw);
    // Points 0 2 4 6, and 1 3 5 7.
    let c = add(p, even, odd);
    let d = mul(p, sub(p, even, odd), vec4<u32>(t.x, u.x, v.x, w.x), vec4<u32>(t.y, u.y, v.y, w.y));
    let r = roots[base + first];
    let s = roots[base + first + 1u];
    let low = vec4<u32>(c.x, d.x, c.z, d.z);
    let high = vec4<u32>(c.y, d.y, c.w, d.w);
    let e = add(p, low, high);
    let f = mul(p, sub(p, low, high), vec4<u32>(r.x, r.x, s.x, s.x), vec4<u32>(r.y, r.y, s.y, s.y));
    return Points(vec4<u32>(e.xy, f.xy), vec4<u32>(e.zw, f.zw));
}

// Points 4 apart, then two stages.
fn three_stages(p: u32, points: Points, base: u32, first: u32) -> Points {
    let root = roots[base + first];
    let high = mul(p, points.b, vec4<u32>(root.x), vec4<u32>(root.y));
    return two_stages(p, Points(add(p, points.a, high), sub(p, points.a, high)), base, 2u * first);
}

fn three_stages_back(p: u32, points: Points, base: u32, first: u32) -> Points {
    let after = two_stages_back(p, points, base, 2u * first);
    let root = roots[base + first];
    let high = mul(p, sub(p, after.a, after.b), vec4<u32>(root.x), vec4<u32>(root.y));
    return Points(add(p, after.a, after.b), high);
}

fn three_of_both(pair: Pair, first: u32) -> Pair {
    return Pair(three_stages(P0, pair.of_p0, FORWARD_0, first), three_stages(P1, pair.of_p1, FORWARD_1, first));
}

fn three_of_both_back(pair: Pair, first: u32) -> Pair {
    return Pair(
        three_stages_back(P0, pair.of_p0, BACKWARD_0, first), three_stages_back(P1, pair.of_p1, BACKWARD_1, first),
    );
}

// From points at the first places to points at the last.
fn transform(given: Pair, thread: u32) -> Pair {
    var pair = three_of_both(given, 1u);
    pair = exchange(pair, first_places(thread), second_places(thread));
    pair = three_of_both(pair, 8u + (thread >> 5u));
    pair = exchange(pair, second_places(thread), third_places(thread));
    pair = three_of_both(pair, 64u + (thread >> 2u));
    pair = exchange(pair, third_places(thread), last_places(thread));
    // Twice four neighbours.
    let first = 512u + 2u * thread;
    return Pair(two_stages(P0, pair.of_p0, FORWARD_0, first), two_stages(P1, pair.of_p1, FORWARD_1, first));
}

// From points at the last places to points at the first, scaled.
fn transform_back(given: Pair, thread: u32) -> Pair {
    let first = 512u + 2u * thread;
    var pair = Pair(
        two_stages_back(P0, given.of_p0, BACKWARD_0, first), two_stages_back(P1, given.of_p1, BACKWARD_1, first),
    );
    pair = exchange(pair, last_places(thread), third_places(thread));
    pair = three_of_both_back(pair, 64u + (thread >> 2u));
    pair = exchange(pair, third_places(thread), second_places(thread));
    pair = three_of_both_back(pair, 8u + (thread >> 5u));
    pair = exchange(pair, second_places(thread), first_places(thread));
    pair = three_of_both_back(pair, 1u);
    return Pair(scaled(P0, pair.of_p0, BACKWARD_0), scaled(P1, pair.of_p1, BACKWARD_1));
}

fn scaled(p: u32, points: Points, base: u32) -> Points {
    let scale = roots[base];
    let factor = vec4<u32>(scale.x);
    let over_p = vec4<u32>(scale.y);
    return Points(mul(p, points.a, factor, over_p), mul(p, points.b, factor, over_p));
}
