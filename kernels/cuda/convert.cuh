// A bootstrap key in the form that a rotation reads: once for each upload.
#pragma once

#include "fft.cuh"
#include "ntt.cuh"

// Polynomials modulo 2^64, in the order that tfhe-rs has them: of each bit, (mask, body) for the mask's digits, then for the
// body's.
struct ConvertFft {
    const uint64_t *in;
    // Point 32 lane + j of a polynomial at 32 j + lane, in turns and divided by 1024.
    Complex *out;
    const Complex *roots;
};

// Polynomials of a block: a warp each.
constexpr uint32_t CONVERT_TOGETHER = 4;
constexpr uint32_t CONVERT_FFT_THREADS = CONVERT_TOGETHER * 32;
constexpr uint32_t CONVERT_FFT_SHARED = CONVERT_TOGETHER * FFT_EXCHANGE * sizeof(Complex);

template <class Thread> HD void convert_fft(Thread &thread, const ConvertFft &args) {
    const uint32_t warp = thread.index() / 32, lane = thread.index() % 32;
    Complex *exchange = thread.template shared<Complex>() + warp * FFT_EXCHANGE;
    const uint64_t polynomial = static_cast<uint64_t>(thread.block()) * CONVERT_TOGETHER + warp;
    const uint64_t *in = args.in + polynomial * N;
    const auto turns = [](uint64_t word) { return static_cast<double>(static_cast<int64_t>(word)) * 0x1p-74; };
    Complex points[FFT_OWN];
UNROLL
    for (uint32_t j = 0; j < FFT_OWN; j++) {
        points[j] = {turns(in[lane + 32 * j]), turns(in[lane + 32 * j + N / 2])};
    }
    fft(thread, lane, args.roots, exchange, points);
UNROLL
    for (uint32_t j = 0; j < FFT_OWN; j++) {
        args.out[polynomial * FFT_POINTS + 32 * j + lane] = points[j];
    }
}

struct ConvertRns {
    const uint64_t *in;
    // [polynomial][prime][point]
    uint32_t *out;
    Twiddles twiddles[2];
};

constexpr uint32_t CONVERT_RNS_SHARED = EXCHANGE_WORDS * 4;

template <class Thread> HD void convert_rns(Thread &thread, const ConvertRns &args) {
    uint32_t *words = thread.template shared<uint32_t>();
    const uint64_t polynomial = thread.block();
    const uint64_t *in = args.in + polynomial * N;
UNROLL
    for (uint32_t which = 0; which < 2; which++) {
        const Prime prime = which == 0 ? p0() : p1();
        uint32_t points[POINTS];
UNROLL
        for (uint32_t j = 0; j < POINTS; j++) {
            points[j] = prime.reduce(to_q(in[at_first(thread.index(), j)]));
        }
        transform(thread, prime, args.twiddles[which], words, points);
UNROLL
        for (uint32_t j = 0; j < POINTS; j++) {
            args.out[(polynomial * 2 + which) * N + at_last(thread.index(), j)] = points[j];
        }
    }
}
