// language: metal2.3
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size2;
    uint size3;
    uint size4;
    uint size5;
    uint size6;
};

struct Task {
    uint slot;
    uint table;
};
struct Points {
    metal::uint4 a;
    metal::uint4 b;
};
struct Pair {
    Points of_p0_;
    Points of_p1_;
};
struct type_5 {
    metal::uint2 inner[2048];
};
struct Places {
    uint first;
    uint step;
};
typedef metal::uint2 type_6[1];
typedef metal::uint4 type_7[1];
typedef Task type_8[1];
typedef uint type_9[1];
typedef ulong type_10[1];
struct Slice {
    uint first;
    uint begin;
    uint end;
};
struct Ring {
    ulong inner[8];
};
constant uint N = 2048u;
constant uint LWE_WORDS = 2049u;
constant uint SMALL = 918u;
constant uint SMALL_WORDS = 919u;
constant uint THREADS = 256u;
constant uint P0_ = 2147389441u;
constant uint P1_ = 2147377153u;
constant uint MINUS_INVERSE_0_ = 1862176767u;
constant uint MINUS_INVERSE_1_ = 3690881023u;
constant uint INVERSE_P0_ = 2147202399u;
constant uint INVERSE_P0_OVER_P1_ = 4294617770u;
constant ulong Q = 4611255024196841473uL;
constant ulong TO_61_BITS = 9224234105882233266uL;
constant ulong BEYOND_FOUR = 6896552219659672uL;
constant uint FORWARD_0_ = 0u;
constant uint BACKWARD_0_ = 2048u;
constant uint FORWARD_1_ = 4096u;
constant uint BACKWARD_1_ = 6144u;

void end_group(
    uint thread_1,
    device metal::atomic_uint& ended
) {
    metal::threadgroup_barrier(metal::mem_flags::mem_device);
    if (thread_1 == 0u) {
        uint _e5 = metal::atomic_fetch_add_explicit(&ended, 1u, metal::memory_order_relaxed);
        return;
    } else {
        return;
    }
}

metal::uint4 add(
    uint p,
    metal::uint4 a,
    metal::uint4 b
) {
    metal::uint4 sum = a + b;
    return metal::min(sum, sum - metal::uint4(p));
}

metal::uint4 sub(
    uint p_1,
    metal::uint4 a_1,
    metal::uint4 b_1
) {
    metal::uint4 difference = a_1 - b_1;
    return metal::min(difference, difference + metal::uint4(p_1));
}

uint high_half(
    uint a_2,
    uint b_2
) {
    return static_cast<uint>((static_cast<ulong>(a_2) * static_cast<ulong>(b_2)) >> 32u);
}

metal::uint4 mul(
    uint p_2,
    metal::uint4 a_3,
    metal::uint4 factor,
    metal::uint4 over_p
) {
    uint _e6 = high_half(a_3.x, over_p.x);
    uint _e9 = high_half(a_3.y, over_p.y);
    uint _e12 = high_half(a_3.z, over_p.z);
    uint _e15 = high_half(a_3.w, over_p.w);
    metal::uint4 quotient = metal::uint4(_e6, _e9, _e12, _e15);
    metal::uint4 rest = (a_3 * factor) - (quotient * p_2);
    return metal::min(rest, rest - metal::uint4(p_2));
}

uint dot_halved(
    uint p_3,
    uint minus_inverse,
    uint a_4,
    uint by,
    uint c,
    uint along
) {
    ulong sum_1 = (static_cast<ulong>(a_4) * static_cast<ulong>(by)) + (static_cast<ulong>(c) * static_cast<ulong>(along));
    uint times_1 = static_cast<uint>(sum_1) * minus_inverse;
    return static_cast<uint>((sum_1 + (static_cast<ulong>(times_1) * static_cast<ulong>(p_3))) >> 32u);
}

metal::uint4 dot_reduced(
    uint p_4,
    uint minus_inverse_1,
    metal::uint4 a_5,
    metal::uint4 by_1,
    metal::uint4 c_1,
    metal::uint4 along_1
) {
    uint _e10 = dot_halved(p_4, minus_inverse_1, a_5.x, by_1.x, c_1.x, along_1.x);
    uint _e15 = dot_halved(p_4, minus_inverse_1, a_5.y, by_1.y, c_1.y, along_1.y);
    uint _e20 = dot_halved(p_4, minus_inverse_1, a_5.z, by_1.z, c_1.z, along_1.z);
    uint _e25 = dot_halved(p_4, minus_inverse_1, a_5.w, by_1.w, c_1.w, along_1.w);
    metal::uint4 rest_1 = metal::uint4(_e10, _e15, _e20, _e25);
    return metal::min(rest_1, rest_1 - metal::uint4(p_4));
}

metal::uint4 of_signed(
    uint p_5,
    metal::uint4 value
) {
    return metal::min(value, value + metal::uint4(p_5));
}

ulong add_q(
    ulong a_6,
    ulong b_3
) {
    ulong sum_2 = a_6 + b_3;
    return (sum_2 >= Q) ? (sum_2 - Q) : sum_2;
}

ulong sub_q(
    ulong a_7,
    ulong b_4
) {
    return (a_7 < b_4) ? (a_7 + (Q - b_4)) : (a_7 - b_4);
}

ulong negative_q(
    ulong a_8
) {
    return (a_8 == 0uL) ? 0uL : (Q - a_8);
}

ulong mul_high(
    ulong a_9,
    ulong b_5
) {
    ulong a_low = a_9 & 4294967295uL;
    ulong a_high = a_9 >> 32u;
    ulong b_low = b_5 & 4294967295uL;
    ulong b_high = b_5 >> 32u;
    ulong middle = (a_high * b_low) + ((a_low * b_low) >> 32u);
    ulong other = (a_low * b_high) + (middle & 4294967295uL);
    return ((a_high * b_high) + (middle >> 32u)) + (other >> 32u);
}

uint digit(
    ulong residue
) {
    ulong _e2 = mul_high(residue, TO_61_BITS);
    uint places = static_cast<uint>((_e2 + (1uL << 37u)) >> 38u);
    return ((places + 4194304u) & 8388607u) - 4194304u;
}

metal::uint4 garner(
    metal::uint4 a_10,
    metal::uint4 b_6
) {
    metal::uint4 a_mod_p1_ = metal::min(a_10, a_10 - metal::uint4(2147377153u));
    metal::uint4 _e8 = sub(P1_, b_6, a_mod_p1_);
    metal::uint4 _e13 = mul(P1_, _e8, metal::uint4(2147202399u), metal::uint4(4294617770u));
    return _e13;
}

ulong joined(
    uint a_11,
    uint times
) {
    return static_cast<ulong>(a_11) + (static_cast<ulong>(times) * 2147389441uL);
}

ulong from_q(
    ulong residue_1
) {
    ulong _e4 = mul_high(residue_1, BEYOND_FOUR);
    return (residue_1 << 2u) + _e4;
}

uint bank(
    uint at
) {
    return at ^ ((at >> 3u) & 15u);
}

Places first_places(
    uint thread_2
) {
    return Places {thread_2, 256u};
}

Places second_places(
    uint thread_3
) {
    return Places {(256u * (thread_3 >> 5u)) + (thread_3 & 31u), 32u};
}

Places third_places(
    uint thread_4
) {
    return Places {(32u * (thread_4 >> 2u)) + (thread_4 & 3u), 4u};
}

Places last_places(
    uint thread_5
) {
    return Places {8u * thread_5, 1u};
}

void give(
    Places at_1,
    uint j,
    uint of_p0_,
    uint of_p1_,
    threadgroup type_5& shared_pairs
) {
    uint _e9 = bank(at_1.first + (at_1.step * j));
    shared_pairs.inner[metal::min(unsigned(_e9), 2047u)] = metal::uint2(of_p0_, of_p1_);
    return;
}

metal::uint2 taken(
    Places at_2,
    uint j_1,
    threadgroup type_5& shared_pairs
) {
    uint _e7 = bank(at_2.first + (at_2.step * j_1));
    metal::uint2 _e9 = shared_pairs.inner[metal::min(unsigned(_e7), 2047u)];
    return _e9;
}

Pair exchange(
    Pair pair,
    Places here,
    Places there,
    threadgroup type_5& shared_pairs
) {
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    give(here, 0u, pair.of_p0_.a.x, pair.of_p1_.a.x, shared_pairs);
    give(here, 1u, pair.of_p0_.a.y, pair.of_p1_.a.y, shared_pairs);
    give(here, 2u, pair.of_p0_.a.z, pair.of_p1_.a.z, shared_pairs);
    give(here, 3u, pair.of_p0_.a.w, pair.of_p1_.a.w, shared_pairs);
    give(here, 4u, pair.of_p0_.b.x, pair.of_p1_.b.x, shared_pairs);
    give(here, 5u, pair.of_p0_.b.y, pair.of_p1_.b.y, shared_pairs);
    give(here, 6u, pair.of_p0_.b.z, pair.of_p1_.b.z, shared_pairs);
    give(here, 7u, pair.of_p0_.b.w, pair.of_p1_.b.w, shared_pairs);
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    metal::uint2 _e60 = taken(there, 0u, shared_pairs);
    metal::uint2 _e62 = taken(there, 1u, shared_pairs);
    metal::uint2 _e64 = taken(there, 2u, shared_pairs);
    metal::uint2 _e66 = taken(there, 3u, shared_pairs);
    metal::uint2 _e68 = taken(there, 4u, shared_pairs);
    metal::uint2 _e70 = taken(there, 5u, shared_pairs);
    metal::uint2 _e72 = taken(there, 6u, shared_pairs);
    metal::uint2 _e74 = taken(there, 7u, shared_pairs);
    return Pair {Points {metal::uint4(_e60.x, _e62.x, _e64.x, _e66.x), metal::uint4(_e68.x, _e70.x, _e72.x, _e74.x)}, Points {metal::uint4(_e60.y, _e62.y, _e64.y, _e66.y), metal::uint4(_e68.y, _e70.y, _e72.y, _e74.y)}};
}

Points two_stages(
    uint p_6,
    Points points,
    uint base,
    uint first,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    metal::uint2 r = roots[metal::min(unsigned(base + first), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 s = roots[metal::min(unsigned((base + first) + 1u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint4 apart_low = metal::uint4(points.a.xy, points.b.xy);
    metal::uint4 _e34 = mul(p_6, metal::uint4(points.a.zw, points.b.zw), metal::uint4(r.x, r.x, s.x, s.x), metal::uint4(r.y, r.y, s.y, s.y));
    metal::uint4 _e35 = add(p_6, apart_low, _e34);
    metal::uint4 _e36 = sub(p_6, apart_low, _e34);
    uint at_5 = base + (2u * first);
    metal::uint2 t = roots[metal::min(unsigned(at_5), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 u = roots[metal::min(unsigned(at_5 + 1u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 v = roots[metal::min(unsigned(at_5 + 2u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 w = roots[metal::min(unsigned(at_5 + 3u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint4 low = metal::uint4(_e35.x, _e36.x, _e35.z, _e36.z);
    metal::uint4 _e78 = mul(p_6, metal::uint4(_e35.y, _e36.y, _e35.w, _e36.w), metal::uint4(t.x, u.x, v.x, w.x), metal::uint4(t.y, u.y, v.y, w.y));
    metal::uint4 _e79 = add(p_6, low, _e78);
    metal::uint4 _e80 = sub(p_6, low, _e78);
    return Points {metal::uint4(_e79.x, _e80.x, _e79.y, _e80.y), metal::uint4(_e79.z, _e80.z, _e79.w, _e80.w)};
}

Points two_stages_back(
    uint p_7,
    Points points_1,
    uint base_1,
    uint first_1,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint at_6 = base_1 + (2u * first_1);
    metal::uint2 t_1 = roots[metal::min(unsigned(at_6), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 u_1 = roots[metal::min(unsigned(at_6 + 1u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 v_1 = roots[metal::min(unsigned(at_6 + 2u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 w_1 = roots[metal::min(unsigned(at_6 + 3u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint4 even = metal::uint4(points_1.a.xz, points_1.b.xz);
    metal::uint4 odd = metal::uint4(points_1.a.yw, points_1.b.yw);
    metal::uint4 _e35 = add(p_7, even, odd);
    metal::uint4 _e36 = sub(p_7, even, odd);
    metal::uint4 _e47 = mul(p_7, _e36, metal::uint4(t_1.x, u_1.x, v_1.x, w_1.x), metal::uint4(t_1.y, u_1.y, v_1.y, w_1.y));
    metal::uint2 r_1 = roots[metal::min(unsigned(base_1 + first_1), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint2 s_1 = roots[metal::min(unsigned((base_1 + first_1) + 1u), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint4 low_1 = metal::uint4(_e35.x, _e47.x, _e35.z, _e47.z);
    metal::uint4 high = metal::uint4(_e35.y, _e47.y, _e35.w, _e47.w);
    metal::uint4 _e68 = add(p_7, low_1, high);
    metal::uint4 _e69 = sub(p_7, low_1, high);
    metal::uint4 _e80 = mul(p_7, _e69, metal::uint4(r_1.x, r_1.x, s_1.x, s_1.x), metal::uint4(r_1.y, r_1.y, s_1.y, s_1.y));
    return Points {metal::uint4(_e68.xy, _e80.xy), metal::uint4(_e68.zw, _e80.zw)};
}

Points three_stages(
    uint p_8,
    Points points_2,
    uint base_2,
    uint first_2,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    metal::uint2 root = roots[metal::min(unsigned(base_2 + first_2), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint4 _e13 = mul(p_8, points_2.b, metal::uint4(root.x), metal::uint4(root.y));
    metal::uint4 _e15 = add(p_8, points_2.a, _e13);
    metal::uint4 _e17 = sub(p_8, points_2.a, _e13);
    Points _e21 = two_stages(p_8, Points {_e15, _e17}, base_2, 2u * first_2, roots, _buffer_sizes);
    return _e21;
}

Points three_stages_back(
    uint p_9,
    Points points_3,
    uint base_3,
    uint first_3,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    Points _e6 = two_stages_back(p_9, points_3, base_3, 2u * first_3, roots, _buffer_sizes);
    metal::uint2 root_1 = roots[metal::min(unsigned(base_3 + first_3), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint4 _e13 = sub(p_9, _e6.a, _e6.b);
    metal::uint4 _e18 = mul(p_9, _e13, metal::uint4(root_1.x), metal::uint4(root_1.y));
    metal::uint4 _e21 = add(p_9, _e6.a, _e6.b);
    return Points {_e21, _e18};
}

Pair three_of_both(
    Pair pair_1,
    uint first_4,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    Points _e5 = three_stages(P0_, pair_1.of_p0_, FORWARD_0_, first_4, roots, _buffer_sizes);
    Points _e9 = three_stages(P1_, pair_1.of_p1_, FORWARD_1_, first_4, roots, _buffer_sizes);
    return Pair {_e5, _e9};
}

Pair three_of_both_back(
    Pair pair_2,
    uint first_5,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    Points _e5 = three_stages_back(P0_, pair_2.of_p0_, BACKWARD_0_, first_5, roots, _buffer_sizes);
    Points _e9 = three_stages_back(P1_, pair_2.of_p1_, BACKWARD_1_, first_5, roots, _buffer_sizes);
    return Pair {_e5, _e9};
}

Pair transform(
    Pair given,
    uint thread_6,
    threadgroup type_5& shared_pairs,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    Pair pair_3 = {};
    Pair _e3 = three_of_both(given, 1u, roots, _buffer_sizes);
    pair_3 = _e3;
    Pair _e5 = pair_3;
    Places _e6 = first_places(thread_6);
    Places _e7 = second_places(thread_6);
    Pair _e8 = exchange(_e5, _e6, _e7, shared_pairs);
    pair_3 = _e8;
    Pair _e9 = pair_3;
    Pair _e14 = three_of_both(_e9, 8u + (thread_6 >> 5u), roots, _buffer_sizes);
    pair_3 = _e14;
    Pair _e15 = pair_3;
    Places _e16 = second_places(thread_6);
    Places _e17 = third_places(thread_6);
    Pair _e18 = exchange(_e15, _e16, _e17, shared_pairs);
    pair_3 = _e18;
    Pair _e19 = pair_3;
    Pair _e24 = three_of_both(_e19, 64u + (thread_6 >> 2u), roots, _buffer_sizes);
    pair_3 = _e24;
    Pair _e25 = pair_3;
    Places _e26 = third_places(thread_6);
    Places _e27 = last_places(thread_6);
    Pair _e28 = exchange(_e25, _e26, _e27, shared_pairs);
    pair_3 = _e28;
    uint first_6 = 512u + (2u * thread_6);
    Points _e35 = pair_3.of_p0_;
    Points _e37 = two_stages(P0_, _e35, FORWARD_0_, first_6, roots, _buffer_sizes);
    Points _e40 = pair_3.of_p1_;
    Points _e42 = two_stages(P1_, _e40, FORWARD_1_, first_6, roots, _buffer_sizes);
    return Pair {_e37, _e42};
}

Points scaled(
    uint p_10,
    Points points_4,
    uint base_4,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    metal::uint2 scale = roots[metal::min(unsigned(base_4), (_buffer_sizes.size2 - 0 - 8) / 8)];
    metal::uint4 factor_1 = metal::uint4(scale.x);
    metal::uint4 over_p_1 = metal::uint4(scale.y);
    metal::uint4 _e11 = mul(p_10, points_4.a, factor_1, over_p_1);
    metal::uint4 _e13 = mul(p_10, points_4.b, factor_1, over_p_1);
    return Points {_e11, _e13};
}

Pair transform_back(
    Pair given_1,
    uint thread_7,
    threadgroup type_5& shared_pairs,
    device type_6 const& roots,
    constant _mslBufferSizes& _buffer_sizes
) {
    Pair pair_4 = {};
    uint first_7 = 512u + (2u * thread_7);
    Points _e9 = two_stages_back(P0_, given_1.of_p0_, BACKWARD_0_, first_7, roots, _buffer_sizes);
    Points _e13 = two_stages_back(P1_, given_1.of_p1_, BACKWARD_1_, first_7, roots, _buffer_sizes);
    pair_4 = Pair {_e9, _e13};
    Pair _e16 = pair_4;
    Places _e17 = last_places(thread_7);
    Places _e18 = third_places(thread_7);
    Pair _e19 = exchange(_e16, _e17, _e18, shared_pairs);
    pair_4 = _e19;
    Pair _e20 = pair_4;
    Pair _e25 = three_of_both_back(_e20, 64u + (thread_7 >> 2u), roots, _buffer_sizes);
    pair_4 = _e25;
    Pair _e26 = pair_4;
    Places _e27 = third_places(thread_7);
    Places _e28 = second_places(thread_7);
    Pair _e29 = exchange(_e26, _e27, _e28, shared_pairs);
    pair_4 = _e29;
    Pair _e30 = pair_4;
    Pair _e35 = three_of_both_back(_e30, 8u + (thread_7 >> 5u), roots, _buffer_sizes);
    pair_4 = _e35;
    Pair _e36 = pair_4;
    Places _e37 = second_places(thread_7);
    Places _e38 = first_places(thread_7);
    Pair _e39 = exchange(_e36, _e37, _e38, shared_pairs);
    pair_4 = _e39;
    Pair _e40 = pair_4;
    Pair _e42 = three_of_both_back(_e40, 1u, roots, _buffer_sizes);
    pair_4 = _e42;
    Points _e45 = pair_4.of_p0_;
    Points _e47 = scaled(P0_, _e45, BACKWARD_0_, roots, _buffer_sizes);
    Points _e50 = pair_4.of_p1_;
    Points _e52 = scaled(P1_, _e50, BACKWARD_1_, roots, _buffer_sizes);
    return Pair {_e47, _e52};
}

void lend(
    uint thread_8,
    uint j_2,
    ulong residue_2,
    threadgroup type_5& shared_pairs
) {
    Places _e3 = first_places(thread_8);
    give(_e3, j_2, static_cast<uint>(residue_2), static_cast<uint>(residue_2 >> 32u), shared_pairs);
    return;
}

uint digit_of(
    ulong residue_3,
    uint thread_9,
    uint j_3,
    uint turn,
    threadgroup type_5& shared_pairs
) {
    uint place = ((thread_9 + (256u * j_3)) - turn) & 4095u;
    uint _e13 = bank(place & 2047u);
    metal::uint2 halves = shared_pairs.inner[metal::min(unsigned(_e13), 2047u)];
    ulong lent = static_cast<ulong>(halves.x) | (static_cast<ulong>(halves.y) << 32u);
    ulong _e23 = negative_q(lent);
    ulong turned = (place < N) ? lent : _e23;
    ulong _e27 = sub_q(turned, residue_3);
    uint _e28 = digit(_e27);
    return _e28;
}

Pair digits_of(
    Ring ring,
    uint thread_10,
    uint turn_1,
    threadgroup type_5& shared_pairs
) {
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    lend(thread_10, 0u, ring.inner[0], shared_pairs);
    lend(thread_10, 1u, ring.inner[1], shared_pairs);
    lend(thread_10, 2u, ring.inner[2], shared_pairs);
    lend(thread_10, 3u, ring.inner[3], shared_pairs);
    lend(thread_10, 4u, ring.inner[4], shared_pairs);
    lend(thread_10, 5u, ring.inner[5], shared_pairs);
    lend(thread_10, 6u, ring.inner[6], shared_pairs);
    lend(thread_10, 7u, ring.inner[7], shared_pairs);
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    uint _e21 = digit_of(ring.inner[0], thread_10, 0u, turn_1, shared_pairs);
    uint _e24 = digit_of(ring.inner[1], thread_10, 1u, turn_1, shared_pairs);
    uint _e27 = digit_of(ring.inner[2], thread_10, 2u, turn_1, shared_pairs);
    uint _e30 = digit_of(ring.inner[3], thread_10, 3u, turn_1, shared_pairs);
    metal::uint4 a_12 = metal::uint4(_e21, _e24, _e27, _e30);
    uint _e34 = digit_of(ring.inner[4], thread_10, 4u, turn_1, shared_pairs);
    uint _e37 = digit_of(ring.inner[5], thread_10, 5u, turn_1, shared_pairs);
    uint _e40 = digit_of(ring.inner[6], thread_10, 6u, turn_1, shared_pairs);
    uint _e43 = digit_of(ring.inner[7], thread_10, 7u, turn_1, shared_pairs);
    metal::uint4 b_7 = metal::uint4(_e34, _e37, _e40, _e43);
    metal::uint4 _e46 = of_signed(P0_, a_12);
    metal::uint4 _e48 = of_signed(P0_, b_7);
    metal::uint4 _e51 = of_signed(P1_, a_12);
    metal::uint4 _e53 = of_signed(P1_, b_7);
    return Pair {Points {_e46, _e48}, Points {_e51, _e53}};
}

Points product(
    uint p_11,
    uint minus_inverse_2,
    Points of_mask,
    Points of_body,
    uint by_mask,
    device type_7 const& keys,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint by_body = by_mask + N;
    metal::uint4 _e10 = keys[metal::min(unsigned(by_mask), (_buffer_sizes.size3 - 0 - 16) / 16)];
    metal::uint4 _e14 = keys[metal::min(unsigned(by_body), (_buffer_sizes.size3 - 0 - 16) / 16)];
    metal::uint4 _e15 = dot_reduced(p_11, minus_inverse_2, of_mask.a, _e10, of_body.a, _e14);
    metal::uint4 _e21 = keys[metal::min(unsigned(by_mask + 1u), (_buffer_sizes.size3 - 0 - 16) / 16)];
    metal::uint4 _e27 = keys[metal::min(unsigned(by_body + 1u), (_buffer_sizes.size3 - 0 - 16) / 16)];
    metal::uint4 _e28 = dot_reduced(p_11, minus_inverse_2, of_mask.b, _e21, of_body.b, _e27);
    return Points {_e15, _e28};
}

Ring grown(
    Ring ring_1,
    Pair of_mask_1,
    Pair of_body_1,
    uint thread_11,
    uint row,
    threadgroup type_5& shared_pairs,
    device type_6 const& roots,
    device type_7 const& keys,
    constant _mslBufferSizes& _buffer_sizes
) {
    Points _e9 = product(P0_, MINUS_INVERSE_0_, of_mask_1.of_p0_, of_body_1.of_p0_, row, keys, _buffer_sizes);
    Points _e16 = product(P1_, MINUS_INVERSE_1_, of_mask_1.of_p1_, of_body_1.of_p1_, row + 512u, keys, _buffer_sizes);
    Pair _e18 = transform_back(Pair {_e9, _e16}, thread_11, shared_pairs, roots, _buffer_sizes);
    metal::uint4 a_13 = _e18.of_p0_.a;
    metal::uint4 b_8 = _e18.of_p0_.b;
    metal::uint4 _e25 = garner(a_13, _e18.of_p1_.a);
    metal::uint4 _e28 = garner(b_8, _e18.of_p1_.b);
    ulong _e32 = joined(_e18.of_p0_.a.x, _e25.x);
    ulong _e33 = add_q(ring_1.inner[0], _e32);
    ulong _e37 = joined(_e18.of_p0_.a.y, _e25.y);
    ulong _e38 = add_q(ring_1.inner[1], _e37);
    ulong _e42 = joined(_e18.of_p0_.a.z, _e25.z);
    ulong _e43 = add_q(ring_1.inner[2], _e42);
    ulong _e47 = joined(_e18.of_p0_.a.w, _e25.w);
    ulong _e48 = add_q(ring_1.inner[3], _e47);
    ulong _e52 = joined(_e18.of_p0_.b.x, _e28.x);
    ulong _e53 = add_q(ring_1.inner[4], _e52);
    ulong _e57 = joined(_e18.of_p0_.b.y, _e28.y);
    ulong _e58 = add_q(ring_1.inner[5], _e57);
    ulong _e62 = joined(_e18.of_p0_.b.z, _e28.z);
    ulong _e63 = add_q(ring_1.inner[6], _e62);
    ulong _e67 = joined(_e18.of_p0_.b.w, _e28.w);
    ulong _e68 = add_q(ring_1.inner[7], _e67);
    return Ring {{_e33, _e38, _e43, _e48, _e53, _e58, _e63, _e68}};
}

Ring loaded(
    uint at_3,
    device type_10 const& rings,
    constant _mslBufferSizes& _buffer_sizes
) {
    ulong _e3 = rings[metal::min(unsigned(at_3), (_buffer_sizes.size6 - 0 - 8) / 8)];
    ulong _e8 = rings[metal::min(unsigned(at_3 + 256u), (_buffer_sizes.size6 - 0 - 8) / 8)];
    ulong _e13 = rings[metal::min(unsigned(at_3 + 512u), (_buffer_sizes.size6 - 0 - 8) / 8)];
    ulong _e18 = rings[metal::min(unsigned(at_3 + 768u), (_buffer_sizes.size6 - 0 - 8) / 8)];
    ulong _e23 = rings[metal::min(unsigned(at_3 + 1024u), (_buffer_sizes.size6 - 0 - 8) / 8)];
    ulong _e28 = rings[metal::min(unsigned(at_3 + 1280u), (_buffer_sizes.size6 - 0 - 8) / 8)];
    ulong _e33 = rings[metal::min(unsigned(at_3 + 1536u), (_buffer_sizes.size6 - 0 - 8) / 8)];
    ulong _e38 = rings[metal::min(unsigned(at_3 + 1792u), (_buffer_sizes.size6 - 0 - 8) / 8)];
    return Ring {{_e3, _e8, _e13, _e18, _e23, _e28, _e33, _e38}};
}

void store(
    uint at_4,
    Ring ring_2,
    device type_10& rings,
    constant _mslBufferSizes& _buffer_sizes
) {
    rings[metal::min(unsigned(at_4), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[0];
    rings[metal::min(unsigned(at_4 + 256u), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[1];
    rings[metal::min(unsigned(at_4 + 512u), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[2];
    rings[metal::min(unsigned(at_4 + 768u), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[3];
    rings[metal::min(unsigned(at_4 + 1024u), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[4];
    rings[metal::min(unsigned(at_4 + 1280u), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[5];
    rings[metal::min(unsigned(at_4 + 1536u), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[6];
    rings[metal::min(unsigned(at_4 + 1792u), (_buffer_sizes.size6 - 0 - 8) / 8)] = ring_2.inner[7];
    return;
}

struct rotateInput {
};
[[max_total_threads_per_threadgroup(256)]] kernel void rotate(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device metal::atomic_uint& ended [[user(fake0)]]
, threadgroup type_5& shared_pairs
, device type_6 const& roots [[user(fake0)]]
, device type_7 const& keys [[user(fake0)]]
, device type_8 const& tasks [[user(fake0)]]
, device type_9 const& turns [[user(fake0)]]
, device type_10& rings [[user(fake0)]]
, constant Slice& slice [[user(fake0)]]
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    Ring mask = {};
    Ring body = {};
    uint bit = {};
    uint _e4 = slice.first;
    uint ciphertext = _e4 + group.x;
    uint at_7 = ((ciphertext * 2u) * N) + thread_;
    Ring _e12 = loaded(at_7, rings, _buffer_sizes);
    mask = _e12;
    Ring _e16 = loaded(at_7 + N, rings, _buffer_sizes);
    body = _e16;
    uint _e21 = tasks[metal::min(unsigned(ciphertext), (_buffer_sizes.size4 - 0 - 8) / 8)].slot;
    uint key = ((_e21 * SMALL) * 2u) * N;
    uint _e30 = slice.begin;
    bit = _e30;
    uint2 loop_bound = uint2(4294967295u);
    bool loop_init = true;
    while(true) {
        if (metal::all(loop_bound == uint2(0u))) { break; }
        loop_bound -= uint2(loop_bound.y == 0u, 1u);
        if (!loop_init) {
            uint _e66 = bit;
            bit = _e66 + 1u;
        }
        loop_init = false;
        uint _e32 = bit;
        uint _e35 = slice.end;
        if (_e32 < _e35) {
        } else {
            break;
        }
        {
            uint _e40 = bit;
            uint turn_2 = turns[metal::min(unsigned((ciphertext * SMALL_WORDS) + _e40), (_buffer_sizes.size5 - 0 - 4) / 4)];
            Ring _e44 = mask;
            Pair _e45 = digits_of(_e44, thread_, turn_2, shared_pairs);
            Pair _e46 = transform(_e45, thread_, shared_pairs, roots, _buffer_sizes);
            Ring _e47 = body;
            Pair _e48 = digits_of(_e47, thread_, turn_2, shared_pairs);
            Pair _e49 = transform(_e48, thread_, shared_pairs, roots, _buffer_sizes);
            uint _e50 = bit;
            uint row_1 = (key + ((_e50 * 2u) * N)) + (2u * thread_);
            Ring _e59 = mask;
            Ring _e60 = grown(_e59, _e46, _e49, thread_, row_1, shared_pairs, roots, keys, _buffer_sizes);
            mask = _e60;
            Ring _e61 = body;
            Ring _e64 = grown(_e61, _e46, _e49, thread_, row_1 + 1024u, shared_pairs, roots, keys, _buffer_sizes);
            body = _e64;
        }
    }
    Ring _e68 = mask;
    store(at_7, _e68, rings, _buffer_sizes);
    Ring _e71 = body;
    store(at_7 + N, _e71, rings, _buffer_sizes);
    end_group(thread_, ended);
    return;
}
