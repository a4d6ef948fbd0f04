// The negacyclic transform of 2048 points by 128 threads, 16 points each, in registers between two exchanges.
//
// Longa and Naehrig 2016, algorithms 1 and 2, eleven stages as 4 + 4 + 3. A thread's points lie 128 apart for the first four
// stages, 8 apart in blocks of 128 for the next four, and side by side for the last three. So the result is in bit-reversed
// order, point 16 t + i with thread t, which is how keys lie.
#pragma once

#include "prime.cuh"
#include "stages.cuh"

constexpr uint32_t NTT_THREADS = 128;
constexpr uint32_t POINTS = N / NTT_THREADS;
static_assert(POINTS == 16);

// Words of shared memory that an exchange takes: one in 33 is left free, so that 32 neighbours' points lie in 32 banks.
constexpr uint32_t EXCHANGE_WORDS = N + N / 32;
HD uint32_t bank(uint32_t at) { return at + (at >> 5); }

// Powers of psi and of its inverse, in bit-reversed order; 1 / N.
struct Twiddles {
    const Factor *forward;
    const Factor *backward;
    Factor scale;
};

// Where a thread's point lies, before and after each exchange.
HD uint32_t at_first(uint32_t thread, uint32_t j) { return thread + 128 * j; }
HD uint32_t at_second(uint32_t thread, uint32_t j) { return 128 * (thread >> 3) + (thread & 7) + 8 * j; }
HD uint32_t at_last(uint32_t thread, uint32_t j) { return 16 * thread + j; }

struct PrimeButterfly {
    Prime prime;

    HD void forward(uint32_t &low, uint32_t &high, Factor root) const {
        const uint32_t turned = mul(prime, high, root);
        high = prime.sub(low, turned);
        low = prime.add(low, turned);
    }
    HD void backward(uint32_t &low, uint32_t &high, Factor inverse) const {
        const uint32_t sum = prime.add(low, high);
        high = mul(prime, prime.sub(low, high), inverse);
        low = sum;
    }
};

// Each thread gives its points where `from` says and takes those that `to` says. Others may still read what was there before.
template <class Thread, class From, class To>
HD void exchange(Thread &thread, uint32_t *words, uint32_t *points, From from, To to) {
    thread.meet();
UNROLL
    for (uint32_t j = 0; j < POINTS; j++) {
        words[bank(from(thread.index(), j))] = points[j];
    }
    thread.meet();
UNROLL
    for (uint32_t j = 0; j < POINTS; j++) {
        points[j] = words[bank(to(thread.index(), j))];
    }
}

// From points at `at_first` to points at `at_last`. `words`: EXCHANGE_WORDS of shared memory.
template <class Thread>
HD void transform(Thread &thread, const Prime &prime, const Twiddles &twiddles, uint32_t *words, uint32_t *points) {
    const uint32_t t = thread.index();
    const PrimeButterfly butterfly{prime};
    stages<4, POINTS>(RootsInOrder<Factor>{twiddles.forward, 1}, points, butterfly);
    exchange(thread, words, points, at_first, at_second);
    stages<4, POINTS>(RootsInOrder<Factor>{twiddles.forward, 16 + (t >> 3)}, points, butterfly);
    exchange(thread, words, points, at_second, at_last);
    // Twice eight neighbours.
    stages<3, POINTS>(RootsInOrder<Factor>{twiddles.forward, 256 + 2 * t}, points, butterfly);
}

// From points at `at_last` to points at `at_first`.
template <class Thread>
HD void transform_back(Thread &thread, const Prime &prime, const Twiddles &twiddles, uint32_t *words, uint32_t *points) {
    const uint32_t t = thread.index();
    const PrimeButterfly butterfly{prime};
    stages_back<3, POINTS>(RootsInOrder<Factor>{twiddles.backward, 256 + 2 * t}, points, butterfly);
    exchange(thread, words, points, at_last, at_second);
    stages_back<4, POINTS>(RootsInOrder<Factor>{twiddles.backward, 16 + (t >> 3)}, points, butterfly);
    exchange(thread, words, points, at_second, at_first);
    stages_back<4, POINTS>(RootsInOrder<Factor>{twiddles.backward, 1}, points, butterfly);
UNROLL
    for (uint32_t j = 0; j < POINTS; j++) {
        points[j] = mul(prime, points[j], twiddles.scale);
    }
}
