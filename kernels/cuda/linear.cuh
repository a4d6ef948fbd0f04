// Sums of large ciphertexts times integers, modulo 2^64.
//
// Sums over the same ciphertexts, which those of a dense layer are, are computed eight at a time: each word is then loaded once
// for eight products.
#pragma once

#include "portable.cuh"

constexpr uint32_t LINEAR_THREADS = 256;
constexpr uint32_t LINEAR_TOGETHER = 8;
// Blocks for each group.
constexpr uint32_t LINEAR_BLOCKS = (LWE_WORDS + LINEAR_THREADS - 1) / LINEAR_THREADS;

// Sums that follow one another, over the same ciphertexts.
struct SumGroup {
    // Where its inputs begin, and the weights of its terms, eight of each term: those of sums that are not there are zero.
    uint64_t inputs;
    uint64_t weights;
    uint32_t terms;
    uint32_t first_sum;
    uint32_t sums;
    uint32_t unused;
};

struct Linear {
    const uint64_t *in;
    uint64_t *out;
    const SumGroup *groups;
    const uint32_t *inputs;
    const uint64_t *weights;
    // Of each sum.
    const uint64_t *constants;
};

template <class Thread> HD void linear(Thread &thread, const Linear &args) {
    const SumGroup group = args.groups[thread.block() / LINEAR_BLOCKS];
    const uint32_t word = thread.block() % LINEAR_BLOCKS * LINEAR_THREADS + thread.index();
    if (word >= LWE_WORDS) {
        return;
    }
    const uint32_t *inputs = args.inputs + group.inputs;
    const uint64_t *weights = args.weights + group.weights;
    uint64_t sums[LINEAR_TOGETHER];
UNROLL
    for (uint32_t sum = 0; sum < LINEAR_TOGETHER; sum++) {
        sums[sum] = 0;
    }
    for (uint32_t term = 0; term < group.terms; term++) {
        const uint64_t value = args.in[static_cast<uint64_t>(inputs[term]) * LWE_WORDS + word];
UNROLL
        for (uint32_t sum = 0; sum < LINEAR_TOGETHER; sum++) {
            sums[sum] += weights[static_cast<uint64_t>(term) * LINEAR_TOGETHER + sum] * value;
        }
    }
UNROLL
    for (uint32_t sum = 0; sum < LINEAR_TOGETHER; sum++) {
        if (sum < group.sums) {
            const uint32_t at = group.first_sum + sum;
            const uint64_t constant = word == N ? args.constants[at] : 0;
            args.out[static_cast<uint64_t>(at) * LWE_WORDS + word] = sums[sum] + constant;
        }
    }
}
