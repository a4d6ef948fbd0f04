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

struct Row {
    ulong constant_;
    uint sum;
    uint first;
    uint end;
    uint more;
};
struct Term {
    ulong weight;
    uint input;
    char _pad2[4];
};
typedef ulong type_3[1];
typedef Row type_4[1];
typedef Term type_5[1];
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

void add_up(
    Row row,
    uint word,
    device type_3 const& inputs,
    device type_5 const& terms,
    device type_3& sums,
    constant _mslBufferSizes& _buffer_sizes
) {
    ulong sum = 0uL;
    uint index = {};
    uint at = (row.sum * LWE_WORDS) + word;
    if (row.more != 0u) {
        ulong _e13 = sums[metal::min(unsigned(at), (_buffer_sizes.size4 - 0 - 8) / 8)];
        sum = _e13;
    } else {
        if (word == N) {
            sum = row.constant_;
        }
    }
    index = row.first;
    uint2 loop_bound = uint2(4294967295u);
    bool loop_init = true;
    while(true) {
        if (metal::all(loop_bound == uint2(0u))) { break; }
        loop_bound -= uint2(loop_bound.y == 0u, 1u);
        if (!loop_init) {
            uint _e38 = index;
            index = _e38 + 1u;
        }
        loop_init = false;
        uint _e19 = index;
        if (_e19 < row.end) {
        } else {
            break;
        }
        {
            uint _e23 = index;
            Term term = terms[metal::min(unsigned(_e23), (_buffer_sizes.size3 - 0 - 16) / 16)];
            ulong _e26 = sum;
            ulong _e34 = inputs[metal::min(unsigned((term.input * LWE_WORDS) + word), (_buffer_sizes.size1 - 0 - 8) / 8)];
            sum = _e26 + (term.weight * _e34);
        }
    }
    ulong _e42 = sum;
    sums[metal::min(unsigned(at), (_buffer_sizes.size4 - 0 - 8) / 8)] = _e42;
    return;
}

struct linearInput {
};
[[max_total_threads_per_threadgroup(256)]] kernel void linear(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device metal::atomic_uint& ended [[user(fake0)]]
, device type_3 const& inputs [[user(fake0)]]
, device type_4 const& rows [[user(fake0)]]
, device type_5 const& terms [[user(fake0)]]
, device type_3& sums [[user(fake0)]]
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    uint word_1 = (group.x * THREADS) + thread_;
    if (word_1 < LWE_WORDS) {
        Row _e11 = rows[metal::min(unsigned(group.y), (_buffer_sizes.size2 - 0 - 24) / 24)];
        add_up(_e11, word_1, inputs, terms, sums, _buffer_sizes);
    }
    end_group(thread_, ended);
    return;
}
