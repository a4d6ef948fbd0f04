// language: metal2.3
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size2;
};

typedef uint type_2[1];
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

uint switched(
    uint word
) {
    return (word + 524288u) >> 20u;
}

int half_(
    int value
) {
    return as_type<int>(as_type<uint>(value) - as_type<uint>(value >> 31u)) >> 1u;
}

struct switch_modulusInput {
};
[[max_total_threads_per_threadgroup(256)]] kernel void switch_modulus(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device metal::atomic_uint& ended [[user(fake0)]]
, device type_2 const& smalls [[user(fake0)]]
, device type_2& turns [[user(fake0)]]
, threadgroup metal::atomic_uint& halves
, threadgroup metal::atomic_int& doubled
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    uint at = {};
    uint first = group.x * SMALL_WORDS;
    if (thread_ == 0u) {
        metal::atomic_store_explicit(&halves, 0u, metal::memory_order_relaxed);
        metal::atomic_store_explicit(&doubled, 0, metal::memory_order_relaxed);
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    at = thread_;
    uint2 loop_bound = uint2(4294967295u);
    bool loop_init = true;
    while(true) {
        if (metal::all(loop_bound == uint2(0u))) { break; }
        loop_bound -= uint2(loop_bound.y == 0u, 1u);
        if (!loop_init) {
            uint _e38 = at;
            at = _e38 + THREADS;
        }
        loop_init = false;
        uint _e12 = at;
        if (_e12 < SMALL) {
        } else {
            break;
        }
        {
            uint _e16 = at;
            uint word_1 = smalls[metal::min(unsigned(first + _e16), (_buffer_sizes.size1 - 0 - 4) / 4)];
            uint _e20 = switched(word_1);
            uint _e22 = at;
            turns[metal::min(unsigned(first + _e22), (_buffer_sizes.size2 - 0 - 4) / 4)] = _e20;
            int error = as_type<int>((_e20 << 20u) - word_1);
            int _e29 = half_(error);
            uint _e32 = metal::atomic_fetch_add_explicit(&halves, as_type<uint>(_e29), metal::memory_order_relaxed);
            int _e37 = metal::atomic_fetch_add_explicit(&doubled, as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(2) * as_type<uint>(_e29))) - as_type<uint>(error)), metal::memory_order_relaxed);
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    if (thread_ == 0u) {
        uint _e44 = metal::atomic_load_explicit(&halves, metal::memory_order_relaxed);
        int _e46 = metal::atomic_load_explicit(&doubled, metal::memory_order_relaxed);
        int _e47 = half_(_e46);
        uint error_1 = _e44 - as_type<uint>(_e47);
        uint _e58 = smalls[metal::min(unsigned(first + SMALL), (_buffer_sizes.size1 - 0 - 4) / 4)];
        uint _e62 = switched((_e58 + error_1) - 524288u);
        turns[metal::min(unsigned(first + SMALL), (_buffer_sizes.size2 - 0 - 4) / 4)] = _e62;
    }
    end_group(thread_, ended);
    return;
}
