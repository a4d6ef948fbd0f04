// The keyswitch as a product of matrices: digits of ciphertexts times rows of their key, modulo 2^32, word for word that of
// kernels/src/cpu/keyswitch.rs.
//
// A block takes a tile of up to COUNT ciphertexts of one key, 256 columns, and some of the rows; what blocks of other rows
// find is added up, which is exact in any order. Each word of the key is loaded once for the whole tile.
#pragma once

#include "portable.cuh"

constexpr uint32_t KS_LEVELS = 4;
constexpr uint32_t KS_BASE_LOG = 4;
// Words from one row of a key to the next: rows begin where a sector of memory does.
constexpr uint32_t KS_STRIDE = 920;
constexpr uint32_t KS_THREADS = 128;
constexpr uint32_t KS_COLUMNS = 2 * KS_THREADS;
constexpr uint32_t KS_COLUMN_BLOCKS = (SMALL_WORDS + KS_COLUMNS - 1) / KS_COLUMNS;
// Words of a mask whose digits are in shared memory at once.
constexpr uint32_t KS_CHUNK = 16;

// Ciphertexts that follow one another, of one key.
struct Tile {
    uint32_t first;
    uint32_t count;
    uint32_t key;
};

struct Keyswitch {
    // Ciphertexts of 2049 words, and of 919, which are zero before.
    const uint64_t *in;
    uint32_t *out;
    // Of each key, a row for each level of each word of a mask.
    const uint32_t *const *keys;
    const Tile *tiles;
    // Words of a mask for each block: a multiple of KS_CHUNK that divides 2048. Blocks: [tile][columns][words].
    uint32_t words;
};

template <uint32_t COUNT> HD constexpr uint32_t keyswitch_shared() { return KS_CHUNK * KS_LEVELS * COUNT * 4; }

// The balanced digits of the top 16 bits, rounded to the nearest, the lowest first.
HD void keyswitch_digits(uint64_t word, uint32_t *digits, uint32_t apart) {
    const uint32_t rounding = static_cast<uint32_t>(word >> 47) & 1;
    const uint32_t top = (static_cast<uint32_t>(word >> 48) + rounding) & 0xffff;
    // Half of all is rounded up or down by the bit below.
    const uint32_t balance = (((top - 1) | (rounding << 15)) & top) >> 15;
    int32_t state = static_cast<int32_t>(top - (balance << 16));
UNROLL
    for (uint32_t level = 0; level < KS_LEVELS; level++) {
        const uint32_t digit = static_cast<uint32_t>(state) & 15;
        state >>= KS_BASE_LOG;
        const uint32_t carry = (((digit - 1) | static_cast<uint32_t>(state)) & digit) >> 3;
        state += static_cast<int32_t>(carry);
        digits[level * apart] = digit - (carry << 4);
    }
}

template <uint32_t COUNT, class Thread> HD void keyswitch(Thread &thread, const Keyswitch &args) {
    uint32_t *digits = thread.template shared<uint32_t>();
    const uint32_t parts = N / args.words;
    const uint32_t part = thread.block() % parts;
    const uint32_t columns = thread.block() / parts % KS_COLUMN_BLOCKS;
    const Tile tile = args.tiles[thread.block() / parts / KS_COLUMN_BLOCKS];
    const uint32_t *key = args.keys[tile.key];
    const uint64_t *in = args.in + static_cast<uint64_t>(tile.first) * LWE_WORDS;
    // A column that is not there is computed as the first one, and dropped.
    const uint32_t column = columns * KS_COLUMNS + thread.index();
    const uint32_t near = column < SMALL_WORDS ? column : 0;
    const uint32_t far = column + KS_THREADS < SMALL_WORDS ? column + KS_THREADS : 0;

    uint32_t sums[2][COUNT];
UNROLL
    for (uint32_t j = 0; j < COUNT; j++) {
        sums[0][j] = sums[1][j] = 0;
    }
    for (uint32_t begin = part * args.words; begin < (part + 1) * args.words; begin += KS_CHUNK) {
        thread.meet();
        for (uint32_t i = thread.index(); i < KS_CHUNK * COUNT; i += KS_THREADS) {
            const uint32_t j = i / KS_CHUNK, word = i % KS_CHUNK;
            const bool is_there = j < tile.count;
            const uint64_t value = is_there ? in[static_cast<uint64_t>(j) * LWE_WORDS + begin + word] : 0;
            keyswitch_digits(value, digits + word * KS_LEVELS * COUNT + j, COUNT);
        }
        thread.meet();
        const uint32_t *rows = key + static_cast<uint64_t>(begin) * KS_LEVELS * KS_STRIDE;
        for (uint32_t word = 0; word < KS_CHUNK; word++) {
UNROLL
            for (uint32_t level = 0; level < KS_LEVELS; level++) {
                const uint32_t row = word * KS_LEVELS + level;
                const uint32_t by_near = rows[row * KS_STRIDE + near];
                const uint32_t by_far = rows[row * KS_STRIDE + far];
UNROLL
                for (uint32_t j = 0; j < COUNT; j++) {
                    sums[0][j] += digits[row * COUNT + j] * by_near;
                    sums[1][j] += digits[row * COUNT + j] * by_far;
                }
            }
        }
    }
UNROLL
    for (uint32_t half = 0; half < 2; half++) {
        const uint32_t at = column + half * KS_THREADS;
UNROLL
        for (uint32_t j = 0; j < COUNT; j++) {
            if (at < SMALL_WORDS && j < tile.count) {
                // The body, rounded, is added by one of the blocks.
                const uint64_t body = in[static_cast<uint64_t>(j) * LWE_WORDS + N];
                const bool adds_body = at == SMALL && part == 0;
                const uint32_t rounded = adds_body ? static_cast<uint32_t>(((body >> 31) + 1) >> 1) : 0;
                uint32_t *out = args.out + static_cast<uint64_t>(tile.first + j) * SMALL_WORDS + at;
                thread.add(out, rounded - sums[half][j]);
            }
        }
    }
}
