// language: metal2.3
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size2;
    uint size3;
    uint size4;
};

struct Task {
    uint slot;
    uint table;
};
typedef ulong type_4[1];
typedef Task type_5[1];
typedef uint type_6[1];
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

struct startInput {
};
[[max_total_threads_per_threadgroup(256)]] kernel void start(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device metal::atomic_uint& ended [[user(fake0)]]
, device type_4 const& tables [[user(fake0)]]
, device type_5 const& tasks [[user(fake0)]]
, device type_6 const& turns [[user(fake0)]]
, device type_4& rings [[user(fake0)]]
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    uint at = (group.x * THREADS) + thread_;
    uint ciphertext = group.y;
    uint turn = turns[metal::min(unsigned((ciphertext * SMALL_WORDS) + SMALL), (_buffer_sizes.size3 - 0 - 4) / 4)];
    uint place = (at + turn) & 4095u;
    uint _e21 = tasks[metal::min(unsigned(ciphertext), (_buffer_sizes.size2 - 0 - 8) / 8)].table;
    ulong residue_2 = tables[metal::min(unsigned((_e21 * N) + (place & 2047u)), (_buffer_sizes.size1 - 0 - 8) / 8)];
    uint ring = (ciphertext * 2u) * N;
    rings[metal::min(unsigned(ring + at), (_buffer_sizes.size4 - 0 - 8) / 8)] = 0uL;
    ulong _e42 = negative_q(residue_2);
    rings[metal::min(unsigned((ring + N) + at), (_buffer_sizes.size4 - 0 - 8) / 8)] = (place < N) ? residue_2 : _e42;
    end_group(thread_, ended);
    return;
}
