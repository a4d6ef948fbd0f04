// language: metal2.3
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size0;
    uint size1;
    uint size2;
    uint size3;
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
typedef ulong type_2[1];
typedef Row type_3[1];
typedef Term type_4[1];
constant uint N = 2048u;
constant uint LWE_WORDS = 2049u;
constant uint SMALL = 918u;
constant uint SMALL_WORDS = 919u;
constant uint THREADS = 256u;

struct linearInput {
};
[[max_total_threads_per_threadgroup(256)]] kernel void linear(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device type_2 const& inputs [[user(fake0)]]
, device type_3 const& rows [[user(fake0)]]
, device type_4 const& terms [[user(fake0)]]
, device type_2& sums [[user(fake0)]]
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    ulong sum = 0uL;
    uint index = {};
    uint word = (group.x * THREADS) + thread_;
    if (word >= LWE_WORDS) {
        return;
    }
    Row row = rows[metal::min(unsigned(group.y), (_buffer_sizes.size1 - 0 - 24) / 24)];
    uint at = (row.sum * LWE_WORDS) + word;
    if (row.more != 0u) {
        ulong _e23 = sums[metal::min(unsigned(at), (_buffer_sizes.size3 - 0 - 8) / 8)];
        sum = _e23;
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
            uint _e48 = index;
            index = _e48 + 1u;
        }
        loop_init = false;
        uint _e29 = index;
        if (_e29 < row.end) {
        } else {
            break;
        }
        {
            uint _e33 = index;
            Term term = terms[metal::min(unsigned(_e33), (_buffer_sizes.size2 - 0 - 16) / 16)];
            ulong _e36 = sum;
            ulong _e44 = inputs[metal::min(unsigned((term.input * LWE_WORDS) + word), (_buffer_sizes.size0 - 0 - 8) / 8)];
            sum = _e36 + (term.weight * _e44);
        }
    }
    ulong _e52 = sum;
    sums[metal::min(unsigned(at), (_buffer_sizes.size3 - 0 - 8) / 8)] = _e52;
    return;
}
