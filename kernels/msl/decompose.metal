// language: metal2.3
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size2;
    uint size3;
};

typedef ulong type_3[1];
typedef uint type_4[1];
constant uint N = 2048u;
constant uint LWE_WORDS = 2049u;
constant uint SMALL = 918u;
constant uint SMALL_WORDS = 919u;
constant uint THREADS = 256u;

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

uint digits_of(
    ulong word
) {
    uint rest = {};
    uint packed = 0u;
    uint level = 0u;
    uint top = static_cast<uint>(word >> 47u);
    uint places = ((top + 1u) >> 1u) & 65535u;
    uint negative = (((places - 1u) | ((top & 1u) << 15u)) & places) >> 15u;
    rest = places - (negative << 16u);
    uint2 loop_bound = uint2(4294967295u);
    bool loop_init = true;
    while(true) {
        if (metal::all(loop_bound == uint2(0u))) { break; }
        loop_bound -= uint2(loop_bound.y == 0u, 1u);
        if (!loop_init) {
            uint _e60 = level;
            level = _e60 + 1u;
        }
        loop_init = false;
        uint _e28 = level;
        if (_e28 < 4u) {
        } else {
            break;
        }
        {
            uint _e31 = rest;
            uint low = _e31 & 15u;
            uint _e34 = rest;
            rest = as_type<uint>(as_type<int>(_e34) >> 4u);
            uint _e41 = rest;
            uint carry = (((low - 1u) | _e41) & low) >> 3u;
            uint _e46 = rest;
            rest = _e46 + carry;
            uint _e48 = packed;
            uint _e55 = level;
            packed = _e48 | (((low - (carry << 4u)) & 255u) << (8u * _e55));
        }
    }
    uint _e62 = packed;
    return _e62;
}

struct decomposeInput {
};
[[max_total_threads_per_threadgroup(256)]] kernel void decompose(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device metal::atomic_uint& ended [[user(fake0)]]
, device type_3 const& inputs [[user(fake0)]]
, device type_4& digits [[user(fake0)]]
, device type_4& smalls [[user(fake0)]]
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    uint word_1 = (group.x * THREADS) + thread_;
    uint first = group.y * LWE_WORDS;
    ulong _e18 = inputs[metal::min(unsigned(first + word_1), (_buffer_sizes.size1 - 0 - 8) / 8)];
    uint _e19 = digits_of(_e18);
    digits[metal::min(unsigned((group.y * N) + word_1), (_buffer_sizes.size2 - 0 - 4) / 4)] = _e19;
    if (word_1 < SMALL_WORDS) {
        ulong _e26 = inputs[metal::min(unsigned(first + N), (_buffer_sizes.size1 - 0 - 8) / 8)];
        uint body = static_cast<uint>(((_e26 >> 31u) + 1uL) >> 1u);
        smalls[metal::min(unsigned((group.y * SMALL_WORDS) + word_1), (_buffer_sizes.size3 - 0 - 4) / 4)] = (word_1 == SMALL) ? body : 0u;
    }
    end_group(thread_, ended);
    return;
}
