// The blind rotation by Fourier transforms in f64, for devices where that is fast: two warps a ciphertext, one for the mask
// and one for the body, and several ciphertexts a block, which read the same rows of their keys at about the same time.
//
// Accumulators have 32 bits: what is rounded away adds 2^-24 to a noise of 2^-15, and a block's shared memory holds twice as many.
#pragma once

#include "fft.cuh"
#include "lookups.cuh"

struct RotateFft {
    Lookups lookups;
    uint32_t ciphertexts;
    // Of each key: [bit][digits of][for][j][lane], point 32 lane + j, in turns and divided by 1024.
    const Complex *const *keys;
    const Complex *roots;
};

constexpr uint32_t WARP_THREADS = 32;
// Threads of a ciphertext.
constexpr uint32_t FFT_THREADS_OF_ONE = 2 * WARP_THREADS;
// Of a ciphertext: two rings of 32-bit words, and an exchange for each warp.
constexpr uint32_t FFT_SHARED_OF_ONE = 2 * N * 4 + 2 * FFT_EXCHANGE * sizeof(Complex);
// Ciphertexts of a block: as many as share a multiprocessor, so that few of them are spread over all, and many read a key's rows
// together.
constexpr uint32_t FFT_MOST_TOGETHER = 4;
static_assert(FFT_MOST_TOGETHER * FFT_SHARED_OF_ONE <= 227 * 1024, "more than a multiprocessor of Hopper has");
static_assert(3 * FFT_SHARED_OF_ONE <= 163 * 1024, "three are what one of Ampere has room for");

HD uint32_t turned32(const uint32_t *ring, uint32_t at, uint32_t turn) {
    const uint32_t from = at - turn;
    const uint32_t word = ring[from & (N - 1)];
    return from & N ? 0u - word : word;
}

// The signed digit of 23 bits, rounded to the nearest.
HD double digit_of(uint32_t word) { return static_cast<double>(static_cast<int32_t>(word + 256u) >> 9); }

// A word of the torus, rounded: what is beyond 32 bits is whole turns, and far below 2^31 of them.
HD uint32_t word_of(double scaled) {
#ifdef __CUDA_ARCH__
    return static_cast<uint32_t>(__double2ll_rn(scaled));
#else
    return static_cast<uint32_t>(static_cast<int64_t>(__builtin_rint(scaled)));
#endif
}

template <class Thread> HD void rotate_fft(Thread &thread, const RotateFft &args) {
    const uint32_t warp = thread.index() / WARP_THREADS;
    const uint32_t lane = thread.index() % WARP_THREADS;
    const uint32_t in_block = warp / 2;
    // 0: the mask, 1: the body.
    const uint32_t own = warp % 2;
    // A block that is not full does the last ciphertext more than once and keeps one result.
    const uint32_t wanted = thread.block() * (thread.count() / FFT_THREADS_OF_ONE) + in_block;
    const uint32_t ciphertext = wanted < args.ciphertexts ? wanted : args.ciphertexts - 1;
    const bool is_kept = wanted < args.ciphertexts;

    unsigned char *memory = thread.template shared<unsigned char>() + in_block * FFT_SHARED_OF_ONE;
    Complex *exchanges = reinterpret_cast<Complex *>(memory);
    Complex *exchange = exchanges + own * FFT_EXCHANGE;
    Complex *of_other = exchanges + (1 - own) * FFT_EXCHANGE;
    uint32_t *rings = reinterpret_cast<uint32_t *>(exchanges + 2 * FFT_EXCHANGE);
    uint32_t *ring = rings + own * N;

    const Lookups &lookups = args.lookups;
    const uint16_t *turns = lookups.turns_of(ciphertext);
    const Complex *key = args.keys[lookups.key_of[ciphertext]];
    const uint64_t *table = lookups.polynomial_of(ciphertext);

    // X^-body * table, without a mask.
    const uint32_t back = (2 * N - turns[SMALL]) & (2 * N - 1);
    for (uint32_t at = lane; at < N; at += WARP_THREADS) {
        const uint32_t from = (at - back) & (2 * N - 1);
        const uint64_t word = from < N ? table[from] : 0ull - table[from - N];
        ring[at] = own == 0 ? 0 : static_cast<uint32_t>((word + (1ull << 31)) >> 32);
    }
    thread.meet_warp();

    for (uint32_t bit = 0; bit < SMALL; bit++) {
        const uint32_t turn = turns[bit];
        Complex points[FFT_OWN];
UNROLL
        for (uint32_t j = 0; j < FFT_OWN; j++) {
            const uint32_t at = lane + 32 * j;
            points[j] = {digit_of(turned32(ring, at, turn) - ring[at]),
                         digit_of(turned32(ring, at + N / 2, turn) - ring[at + N / 2])};
        }
        fft(thread, lane, args.roots, exchange, points);
        // Each warp gives the other its digits' transform, and multiplies both by what they are for its own ring.
        const Complex *of_own = key + (static_cast<uint64_t>(bit) * 4 + own * 3) * FFT_POINTS;
        const Complex *of_others = key + (static_cast<uint64_t>(bit) * 4 + 2 - own) * FFT_POINTS;
        thread.meet_warp();
UNROLL
        for (uint32_t j = 0; j < FFT_OWN; j++) {
            exchange[j * WARP_THREADS + lane] = points[j];
        }
        // Only then: registers for a key's numbers are free when nothing else is loaded.
        thread.meet_warp();
UNROLL
        for (uint32_t j = 0; j < FFT_OWN; j++) {
            points[j] = points[j] * of_own[j * WARP_THREADS + lane];
        }
        thread.meet();
UNROLL
        for (uint32_t j = 0; j < FFT_OWN; j++) {
            const uint32_t at = j * WARP_THREADS + lane;
            points[j] = multiply_add(of_other[at], of_others[at], points[j]);
        }
        thread.meet();
        fft_back(thread, lane, args.roots, exchange, points);
UNROLL
        for (uint32_t j = 0; j < FFT_OWN; j++) {
            const uint32_t at = lane + 32 * j;
            ring[at] += word_of(points[j].re);
            ring[at + N / 2] += word_of(points[j].im);
        }
        thread.meet_warp();
    }

    // Both rings of a ciphertext are read by both of its warps.
    thread.meet();
    if (!is_kept) {
        return;
    }
    for (uint32_t read = lookups.reads_of[ciphertext]; read < lookups.reads_of[ciphertext + 1]; read++) {
        const ReadOf of(lookups.reads[read]);
        const uint32_t coefficient = of.coefficient;
        uint64_t *out = lookups.out_of(read);
        for (uint32_t i = own * WARP_THREADS + lane; i < N; i += 2 * WARP_THREADS) {
            const uint32_t word = i <= coefficient ? rings[coefficient - i] : 0u - rings[N + coefficient - i];
            out[i] = of.kept(static_cast<uint64_t>(word) << 32);
        }
        if (own == 0 && lane == 0) {
            out[N] = of.kept(static_cast<uint64_t>(rings[N + coefficient]) << 32);
        }
    }
}
