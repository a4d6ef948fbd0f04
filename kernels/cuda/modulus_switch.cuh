// The centred switch of a small ciphertext to 2N, one a block: word for word tfhe-rs's
// lwe_ciphertext_centered_binary_modulus_switch.
#pragma once

#include "portable.cuh"

constexpr uint32_t SWITCH_THREADS = 128;
constexpr uint32_t SWITCH_SHARED = 2 * SWITCH_THREADS * 4;

struct ModulusSwitch {
    // 919 words of each ciphertext.
    const uint32_t *in;
    // 918 turns and the body's.
    uint16_t *turns;
};

// The top 12 bits, rounded.
HD uint32_t turn_of(uint32_t word) { return (word + (1u << 19)) >> 20; }

template <class Thread> HD void modulus_switch(Thread &thread, const ModulusSwitch &args) {
    int32_t *halves_of = thread.template shared<int32_t>();
    int32_t *rests_of = halves_of + SWITCH_THREADS;
    const uint32_t *in = args.in + static_cast<uint64_t>(thread.block()) * SMALL_WORDS;
    uint16_t *turns = args.turns + static_cast<uint64_t>(thread.block()) * SMALL_WORDS;
    // Half of each word's error is expected to reach the phase: key bits are 0 or 1. What halving cuts off is added up apart.
    int32_t halves = 0, rests = 0;
    for (uint32_t at = thread.index(); at < SMALL; at += SWITCH_THREADS) {
        const uint32_t turn = turn_of(in[at]);
        const int32_t error = static_cast<int32_t>((turn << 20) - in[at]);
        const int32_t half = error / 2;
        halves += half;
        rests += 2 * half - error;
        turns[at] = static_cast<uint16_t>(turn);
    }
    halves_of[thread.index()] = halves;
    rests_of[thread.index()] = rests;
    thread.meet();
    if (thread.index() == 0) {
        for (uint32_t other = 1; other < SWITCH_THREADS; other++) {
            halves += halves_of[other];
            rests += rests_of[other];
        }
        // Half a box back, so that boxes of tables are centred.
        const uint32_t centred = in[SMALL] + static_cast<uint32_t>(halves - rests / 2) - (1u << 19);
        turns[SMALL] = static_cast<uint16_t>(turn_of(centred));
    }
}
