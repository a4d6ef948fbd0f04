// The negacyclic transform of 2048 points by 128 threads, 16 points each, in registers between two exchanges.
//
// Longa and Naehrig 2016, algorithms 1 and 2, eleven stages as 4 + 4 + 3. A thread's points lie 128 apart for the first four
// stages, 8 apart in blocks of 128 for the next four, and side by side for the last three. So the result is in bit-reversed
// order, point 16 t + i with thread t, which is how keys lie.
#pragma once

#include "prime.cuh"

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

// Four stages on points that differ in four bits of their place; `group` is the number of the thread's group in the first of them,
// of `groups`.
HD void four_stages(const Prime &prime, const Factor *twiddles, uint32_t groups, uint32_t group, uint32_t *points) {
UNROLL
    for (uint32_t stage = 0; stage < 4; stage++) {
        const uint32_t half = 8u >> stage;
UNROLL
        for (uint32_t low = 0; low < POINTS; low++) {
            if (low & half) {
                continue;
            }
            const Factor twiddle = twiddles[(groups << stage) + (group << stage) + (low >> (4 - stage))];
            const uint32_t turned = mul(prime, points[low + half], twiddle);
            points[low + half] = prime.sub(points[low], turned);
            points[low] = prime.add(points[low], turned);
        }
    }
}

HD void four_stages_back(const Prime &prime, const Factor *twiddles, uint32_t groups, uint32_t group, uint32_t *points) {
UNROLL
    for (uint32_t turn = 0; turn < 4; turn++) {
        const uint32_t stage = 3 - turn;
        const uint32_t half = 8u >> stage;
UNROLL
        for (uint32_t low = 0; low < POINTS; low++) {
            if (low & half) {
                continue;
            }
            const Factor twiddle = twiddles[(groups << stage) + (group << stage) + (low >> (4 - stage))];
            const uint32_t sum = prime.add(points[low], points[low + half]);
            points[low + half] = mul(prime, prime.sub(points[low], points[low + half]), twiddle);
            points[low] = sum;
        }
    }
}

// The last three stages on eight neighbours, twice.
HD void three_stages(const Prime &prime, const Factor *twiddles, uint32_t thread, uint32_t *points) {
UNROLL
    for (uint32_t stage = 0; stage < 3; stage++) {
        const uint32_t half = 4u >> stage;
UNROLL
        for (uint32_t low = 0; low < POINTS; low++) {
            if (low & half) {
                continue;
            }
            const Factor twiddle = twiddles[(256u << stage) + (at_last(thread, low) >> (3 - stage))];
            const uint32_t turned = mul(prime, points[low + half], twiddle);
            points[low + half] = prime.sub(points[low], turned);
            points[low] = prime.add(points[low], turned);
        }
    }
}

HD void three_stages_back(const Prime &prime, const Factor *twiddles, uint32_t thread, uint32_t *points) {
UNROLL
    for (uint32_t turn = 0; turn < 3; turn++) {
        const uint32_t stage = 2 - turn;
        const uint32_t half = 4u >> stage;
UNROLL
        for (uint32_t low = 0; low < POINTS; low++) {
            if (low & half) {
                continue;
            }
            const Factor twiddle = twiddles[(256u << stage) + (at_last(thread, low) >> (3 - stage))];
            const uint32_t sum = prime.add(points[low], points[low + half]);
            points[low + half] = mul(prime, prime.sub(points[low], points[low + half]), twiddle);
            points[low] = sum;
        }
    }
}

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
    four_stages(prime, twiddles.forward, 1, 0, points);
    exchange(thread, words, points, at_first, at_second);
    four_stages(prime, twiddles.forward, 16, t >> 3, points);
    exchange(thread, words, points, at_second, at_last);
    three_stages(prime, twiddles.forward, t, points);
}

// From points at `at_last` to points at `at_first`.
template <class Thread>
HD void transform_back(Thread &thread, const Prime &prime, const Twiddles &twiddles, uint32_t *words, uint32_t *points) {
    const uint32_t t = thread.index();
    three_stages_back(prime, twiddles.backward, t, points);
    exchange(thread, words, points, at_last, at_second);
    four_stages_back(prime, twiddles.backward, 16, t >> 3, points);
    exchange(thread, words, points, at_second, at_first);
    four_stages_back(prime, twiddles.backward, 1, 0, points);
UNROLL
    for (uint32_t j = 0; j < POINTS; j++) {
        points[j] = mul(prime, points[j], twiddles.scale);
    }
}
