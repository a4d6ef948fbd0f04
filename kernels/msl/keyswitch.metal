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

struct Tile {
    uint first;
    uint count;
    uint slot;
    uint spare;
};
typedef uint type_1[1];
typedef Tile type_2[1];
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

void subtract(
    Tile tile,
    uint ciphertext,
    uint column,
    uint sum,
    device type_4& smalls,
    constant _mslBufferSizes& _buffer_sizes
) {
    if (ciphertext < tile.count) {
        uint _e13 = metal::atomic_fetch_sub_explicit(&smalls[metal::min(unsigned(((tile.first + ciphertext) * SMALL_WORDS) + column), (_buffer_sizes.size3 - 0 - 4) / 4)], sum, metal::memory_order_relaxed);
        return;
    } else {
        return;
    }
}
uint naga_dot_uint4(metal::uint4 a, metal::uint4 b) {
    return ( + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w);
}


struct keyswitchInput {
};
[[max_total_threads_per_threadgroup(128)]] kernel void keyswitch(
  metal::uint3 group [[threadgroup_position_in_grid]]
, uint thread_ [[thread_index_in_threadgroup]]
, device type_1 const& digits [[user(fake0)]]
, device type_1 const& keys [[user(fake0)]]
, device type_2 const& tiles [[user(fake0)]]
, device type_4& smalls [[user(fake0)]]
, constant Range& range [[user(fake0)]]
, threadgroup type_6& factors
, constant _mslBufferSizes& _buffer_sizes [[user(fake0)]]
) {
    uint at = {};
    uint packed = {};
    metal::uint4 low = metal::uint4 {};
    metal::uint4 high = metal::uint4 {};
    uint at_1 = {};
    uint row = 0u;
    uint _e5 = range.first;
    Tile tile_1 = tiles[metal::min(unsigned(_e5 + group.z), (_buffer_sizes.size2 - 0 - 16) / 16)];
    uint first_row = group.y * ROWS;
    at = thread_;
    uint2 loop_bound = uint2(4294967295u);
    bool loop_init = true;
    while(true) {
        if (metal::all(loop_bound == uint2(0u))) { break; }
        loop_bound -= uint2(loop_bound.y == 0u, 1u);
        if (!loop_init) {
            uint _e44 = at;
            at = _e44 + COLUMNS;
        }
        loop_init = false;
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
            if (ciphertext_1 < tile_1.count) {
                uint _e35 = digits[metal::min(unsigned((((tile_1.first + ciphertext_1) * N) + first_row) + row_1), (_buffer_sizes.size0 - 0 - 4) / 4)];
                packed = _e35;
            }
            uint _e41 = packed;
            factors.inner[metal::min(unsigned((row_1 * TILE) + ciphertext_1), 511u)] = as_type<metal::uint4>(int4(as_type<packed_char4>(_e41)));
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    uint column_1 = (group.x * COLUMNS) + thread_;
    if (column_1 >= SMALL_WORDS) {
        return;
    }
    at_1 = ((((tile_1.slot * N) + first_row) * 4u) * SMALL_WORDS) + column_1;
    uint2 loop_bound_1 = uint2(4294967295u);
    bool loop_init_1 = true;
    while(true) {
        if (metal::all(loop_bound_1 == uint2(0u))) { break; }
        loop_bound_1 -= uint2(loop_bound_1.y == 0u, 1u);
        if (!loop_init_1) {
            uint _e157 = row;
            row = _e157 + 1u;
        }
        loop_init_1 = false;
        uint _e69 = row;
        if (_e69 < ROWS) {
        } else {
            break;
        }
        {
            uint _e73 = at_1;
            uint _e75 = keys[metal::min(unsigned(_e73), (_buffer_sizes.size1 - 0 - 4) / 4)];
            uint _e77 = at_1;
            uint _e81 = keys[metal::min(unsigned(_e77 + SMALL_WORDS), (_buffer_sizes.size1 - 0 - 4) / 4)];
            uint _e83 = at_1;
            uint _e87 = keys[metal::min(unsigned(_e83 + 1838u), (_buffer_sizes.size1 - 0 - 4) / 4)];
            uint _e89 = at_1;
            uint _e93 = keys[metal::min(unsigned(_e89 + 2757u), (_buffer_sizes.size1 - 0 - 4) / 4)];
            metal::uint4 levels = metal::uint4(_e75, _e81, _e87, _e93);
            uint _e95 = at_1;
            at_1 = _e95 + 3676u;
            uint _e98 = row;
            uint by = _e98 * TILE;
            metal::uint4 _e101 = low;
            metal::uint4 _e104 = factors.inner[metal::min(unsigned(by), 511u)];
            metal::uint4 _e110 = factors.inner[metal::min(unsigned(by + 1u), 511u)];
            metal::uint4 _e116 = factors.inner[metal::min(unsigned(by + 2u), 511u)];
            metal::uint4 _e122 = factors.inner[metal::min(unsigned(by + 3u), 511u)];
            low = _e101 + metal::uint4(naga_dot_uint4(_e104, levels), naga_dot_uint4(_e110, levels), naga_dot_uint4(_e116, levels), naga_dot_uint4(_e122, levels));
            if (tile_1.count > 4u) {
                metal::uint4 _e129 = high;
                metal::uint4 _e134 = factors.inner[metal::min(unsigned(by + 4u), 511u)];
                metal::uint4 _e140 = factors.inner[metal::min(unsigned(by + 5u), 511u)];
                metal::uint4 _e146 = factors.inner[metal::min(unsigned(by + 6u), 511u)];
                metal::uint4 _e152 = factors.inner[metal::min(unsigned(by + 7u), 511u)];
                high = _e129 + metal::uint4(naga_dot_uint4(_e134, levels), naga_dot_uint4(_e140, levels), naga_dot_uint4(_e146, levels), naga_dot_uint4(_e152, levels));
            }
        }
    }
    uint _e161 = low.x;
    subtract(tile_1, 0u, column_1, _e161, smalls, _buffer_sizes);
    uint _e164 = low.y;
    subtract(tile_1, 1u, column_1, _e164, smalls, _buffer_sizes);
    uint _e167 = low.z;
    subtract(tile_1, 2u, column_1, _e167, smalls, _buffer_sizes);
    uint _e170 = low.w;
    subtract(tile_1, 3u, column_1, _e170, smalls, _buffer_sizes);
    uint _e173 = high.x;
    subtract(tile_1, 4u, column_1, _e173, smalls, _buffer_sizes);
    uint _e176 = high.y;
    subtract(tile_1, 5u, column_1, _e176, smalls, _buffer_sizes);
    uint _e179 = high.z;
    subtract(tile_1, 6u, column_1, _e179, smalls, _buffer_sizes);
    uint _e182 = high.w;
    subtract(tile_1, 7u, column_1, _e182, smalls, _buffer_sizes);
    return;
}
