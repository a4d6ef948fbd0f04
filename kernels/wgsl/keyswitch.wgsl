// The second half of a keyswitch: digits times key, taken from what the small ciphertexts hold. A workgroup has 128 columns of 64
// words' rows of the key, and up to eight ciphertexts of that key. Sums over rows meet in atomic words: modulo 2^32 their order
// is all one.

const COLUMNS: u32 = 128u;
const ROWS_LOG: u32 = 6u;
const ROWS: u32 = 1u << ROWS_LOG;
const TILE: u32 = 8u;

struct Tile {
    // Of its ciphertexts, the first, and how many.
    first: u32,
    count: u32,
    slot: u32,
    spare: u32,
}

@group(0) @binding(0) var<storage, read> digits: array<u32>;
// Of each slot, for each word of the mask, its levels, each a small ciphertext.
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read> tiles: array<Tile>;
@group(0) @binding(3) var<storage, read_write> smalls: array<atomic<u32>>;

struct Range {
    first: u32,
}
var<immediate> range: Range;

var<workgroup> factors: array<vec4<u32>, ROWS * TILE>;

@compute @workgroup_size(COLUMNS)
fn keyswitch(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let tile = tiles[range.first + group.z];
    let first_row = group.y * ROWS;
    for (var at = thread; at < ROWS * TILE; at += COLUMNS) {
        let ciphertext = at >> ROWS_LOG;
        let row = at & (ROWS - 1u);
        var packed = 0u;
        if ciphertext < tile.count {
            packed = digits[(tile.first + ciphertext) * N + first_row + row];
        }
        factors[row * TILE + ciphertext] = bitcast<vec4<u32>>(unpack4xI8(packed));
    }
    workgroupBarrier();

    let column = group.x * COLUMNS + thread;
    if column < SMALL_WORDS {
        multiply(tile, first_row, column);
    }
    end_group(thread);
}

// A column of the rows.
fn multiply(tile: Tile, first_row: u32, column: u32) {
    var low = vec4<u32>();
    var high = vec4<u32>();
    var at = (tile.slot * N + first_row) * 4u * SMALL_WORDS + column;
    for (var row = 0u; row < ROWS; row++) {
        let levels = vec4<u32>(
            keys[at], keys[at + SMALL_WORDS], keys[at + 2u * SMALL_WORDS], keys[at + 3u * SMALL_WORDS],
        );
        at += 4u * SMALL_WORDS;
        let by = row * TILE;
        low += vec4<u32>(
            dot(factors[by], levels), dot(factors[by + 1u], levels),
            dot(factors[by + 2u], levels), dot(factors[by + 3u], levels),
        );
        if tile.count > 4u {
            high += vec4<u32>(
                dot(factors[by + 4u], levels), dot(factors[by + 5u], levels),
                dot(factors[by + 6u], levels), dot(factors[by + 7u], levels),
            );
        }
    }
    subtract(tile, 0u, column, low.x);
    subtract(tile, 1u, column, low.y);
    subtract(tile, 2u, column, low.z);
    subtract(tile, 3u, column, low.w);
    subtract(tile, 4u, column, high.x);
    subtract(tile, 5u, column, high.y);
    subtract(tile, 6u, column, high.z);
    subtract(tile, 7u, column, high.w);
}

fn subtract(tile: Tile, ciphertext: u32, column: u32, sum: u32) {
    if ciphertext < tile.count {
        atomicSub(&smalls[(tile.first + ciphertext) * SMALL_WORDS + column], sum);
    }
}
