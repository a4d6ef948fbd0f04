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

struct Tile {
    uint first;
    uint count;
    uint slot;
    uint spare;
};
typedef uint type_2[1];
typedef Tile type_3[1];
typedef metal::atomic_uint type_4[1];
struct Range {
    uint first;
};
struct type_6 {
    metal::uint4 inner[512];
};
constant uint N = 2048u;
constant uint LWE_WORDS = 2049u;
constant uint SMALL = 918u;
constant uint SMALL_WORDS = 919u;
constant uint THREADS = 256u;
constant uint COLUMNS = 128u;
constant uint ROWS_LOG = 6u;
constant uint ROWS = 64u;
constant uint TILE = 8u;

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

void subtract(
    Tile tile,
    uint ciphertext,
    uint column,
    uint sum,
    device type_4& smalls,
    constant _mslBufferSizes& _buffer_sizes
) {
    if (ciphertext < tile.count) {
        uint _e13 = metal::atomic_fetch_sub_explicit(&smalls[metal::min(unsigned(((tile.first + ciphertext) * SMALL_WORDS) + column), (_buffer_sizes.size4 - 0 - 4) / 4)], sum, metal::memory_order_relaxed);
        return;
    } else {
        return;
    }
}

uint naga_dot_uint4(metal::uint4 a, metal::uint4 b) {
    return ( + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w);
}

void multiply(
    Tile tile_1,
    uint first_row,
    uint column_1,
    device type_2 const& keys,
    device type_4& smalls,
    threadgroup type_6& factors,
    constant _mslBufferSizes& _buffer_sizes
) {
    metal::uint4 low = metal::uint4 {};
    metal::uint4 high = metal::uint4 {};
    uint at_1 = {};
    uint row = 0u;
    at_1 = ((((tile_1.slot * N) + first_row) * 4u) * SMALL_WORDS) + column_1;
    uint2 loop_bound = uint2(4294967295u);
    bool loop_init = true;
    while(true) {
        if (metal::all(loop_bound == uint2(0u))) { break; }
        loop_bound -= uint2(loop_bound.y == 0u, 1u);
        if (!loop_init) {
            uint _e107 = row;
            row = _e107 + 1u;
        }
        loop_init = false;
        uint _e19 = row;
        if (_e19 < ROWS) {
        } else {
            break;
        }
        {
            uint _e23 = at_1;
            uint _e25 = keys[metal::min(unsigned(_e23), (_buffer_sizes.size2 - 0 - 4) / 4)];
            uint _e27 = at_1;
            uint _e31 = keys[metal::min(unsigned(_e27 + SMALL_WORDS), (_buffer_sizes.size2 - 0 - 4) / 4)];
            uint _e33 = at_1;
            uint _e37 = keys[metal::min(unsigned(_e33 + 1838u), (_buffer_sizes.size2 - 0 - 4) / 4)];
            uint _e39 = at_1;
            uint _e43 = keys[metal::min(unsigned(_e39 + 2757u), (_buffer_sizes.size2 - 0 - 4) / 4)];
            metal::uint4 levels = metal::uint4(_e25, _e31, _e37, _e43);
            uint _e45 = at_1;
            at_1 = _e45 + 3676u;
            uint _e48 = row;
            uint by = _e48 * TILE;
            metal::uint4 _e51 = low;
            metal::uint4 _e54 = factors.inner[metal::min(unsigned(by), 511u)];
            metal::uint4 _e60 = factors.inner[metal::min(unsigned(by + 1u), 511u)];
            metal::uint4 _e66 = factors.inner[metal::min(unsigned(by + 2u), 511u)];
            metal::uint4 _e72 = factors.inner[metal::min(unsigned(by + 3u), 511u)];
            low = _e51 + metal::uint4(naga_dot_uint4(_e54, levels), naga_dot_uint4(_e60, levels), naga_dot_uint4(_e66, levels), naga_dot_uint4(_e72, levels));
            if (tile_1.count > 4u) {
                metal::uint4 _e79 = high;
                metal::uint4 _e84 = factors.inner[metal::min(unsigned(by + 4u), 511u)];
                metal::uint4 _e90 = factors.inner[metal::min(unsigned(by + 5u), 511u)];
                metal::uint4 _e96 = factors.inner[metal::min(unsigned(by + 6u), 511u)];
                metal::uint4 _e102 = factors.inner[metal::min(unsigned(by + 7u), 511u)];
                high = _e79 + metal::uint4(naga_dot_uint4(_e84, levels), naga_dot_uint4(_e90, levels), naga_dot_uint4(_e96, levels), naga_dot_uint4(_e102, levels));
            }
        }
    }
    uint _e111 = low.x;
    subtract(tile_1, 0u, column_1, _e111, smalls, _buffer_sizes);
    uint _e114 = low.y;
    subtract(tile_1, 1u, column_1, _e114, smalls, _buffer_sizes);
    uint _e117 = low.z;
    subtract(tile_1, 2u, column_1, _e117, smalls, _buffer_sizes);
    uint _e120 = low.w;
    subtract(tile_1, 3u, column_1, _e120, smalls, _buffer_sizes);
    uint _e123 = high.x;
    subtract(tile_1, 4u, column_1, _e123, smalls, _buffer_sizes);
    uint _e126 = high.y;
    subtract(tile_1, 5u, column_1, _e126, smalls, _buffer_sizes);
    uint _e129 = high.z;
    subtract(tile_1, 6u, column_1, _e129, smalls, _buffer_sizes);
    uint _e132 = high.w;
    subtract(tile_1, 7u, column_1, _e132, smalls, _buffer_sizes);
    return;
}

struct keyswitchInput {
};
[[max_total_threads_per_threadgroup(128)]] kernel void keyswitch(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device metal::atomic_uint& ended [[user(fake0)]]
, device type_2 const& digits [[user(fake0)]]
, device type_2 const& keys [[user(fake0)]]
, device type_3 const& tiles [[user(fake0)]]
, device type_4& smalls [[user(fake0)]]
, constant Range& range [[user(fake0)]]
, threadgroup type_6& factors
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    uint at = {};
    uint packed = {};
    uint _e5 = range.first;
    Tile tile_2 = tiles[metal::min(unsigned(_e5 + group.z), (_buffer_sizes.size3 - 0 - 16) / 16)];
    uint first_row_1 = group.y * ROWS;
    at = thread_;
    uint2 loop_bound_1 = uint2(4294967295u);
    bool loop_init_1 = true;
    while(true) {
        if (metal::all(loop_bound_1 == uint2(0u))) { break; }
        loop_bound_1 -= uint2(loop_bound_1.y == 0u, 1u);
        if (!loop_init_1) {
            uint _e44 = at;
            at = _e44 + COLUMNS;
        }
        loop_init_1 = false;
        uint _e14 = at;
        if (_e14 < 512u) {
        } else {
            break;
        }
        {
            uint _e17 = at;
            uint ciphertext_1 = _e17 >> ROWS_LOG;
            uint _e20 = at;
            uint row_1 = _e20 & 63u;
            packed = 0u;
            if (ciphertext_1 < tile_2.count) {
                uint _e35 = digits[metal::min(unsigned((((tile_2.first + ciphertext_1) * N) + first_row_1) + row_1), (_buffer_sizes.size1 - 0 - 4) / 4)];
                packed = _e35;
            }
            uint _e41 = packed;
            factors.inner[metal::min(unsigned((row_1 * TILE) + ciphertext_1), 511u)] = as_type<metal::uint4>(int4(as_type<packed_char4>(_e41)));
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    uint column_2 = (group.x * COLUMNS) + thread_;
    if (column_2 < SMALL_WORDS) {
        multiply(tile_2, first_row_1, column_2, keys, smalls, factors, _buffer_sizes);
    }
    end_group(thread_, ended);
    return;
}
