// What every rotation is asked for: ciphertexts, each with its key and its table, and what is read of each.
#pragma once

#include "portable.cuh"

struct Lookups {
    // Of each ciphertext: its key, its table, 918 turns and the body's, and where its reads begin (one more at the end).
    const uint32_t *key_of;
    const uint32_t *table_of;
    const uint16_t *turns;
    const uint32_t *reads_of;
    // Of each table, its polynomial: words of the torus.
    const uint64_t *tables;
    // Of each read, its coefficient and above it the upper bits of words that are kept; and where it goes: 2049 words each.
    const uint32_t *reads;
    uint64_t *out;

    HD const uint16_t *turns_of(uint32_t ciphertext) const {
        return turns + static_cast<uint64_t>(ciphertext) * SMALL_WORDS;
    }
    HD const uint64_t *polynomial_of(uint32_t ciphertext) const {
        return tables + static_cast<uint64_t>(table_of[ciphertext]) * N;
    }
    HD uint64_t *out_of(uint32_t read) const { return out + static_cast<uint64_t>(read) * LWE_WORDS; }
};

// What is read of a turned polynomial.
struct ReadOf {
    uint32_t coefficient;
    uint32_t keep;

    HD explicit ReadOf(uint32_t packed) : coefficient(packed & 0xffff), keep(packed >> 16) {}

    // Rounded to the bits that are kept, halves up.
    HD uint64_t kept(uint64_t word) const {
        return keep >= 64 ? word : (word + (1ull << (63 - keep))) & (~0ull << (64 - keep));
    }
};
