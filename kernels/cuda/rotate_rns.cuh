// The blind rotation modulo Q, one ciphertext a block: kernels/src/rns/rotation.rs in device code, to the bit.
#pragma once

#include "lookups.cuh"
#include "ntt.cuh"

struct RotateRns {
    Lookups lookups;
    // Of each key: [bit][digits of][for][prime][point], as RnsKey::words has them.
    const uint32_t *const *keys;
    Twiddles twiddles[2];
};

// Shared memory: mask and body modulo Q, and an exchange.
constexpr uint32_t ROTATE_RNS_SHARED = 2 * N * 8 + EXCHANGE_WORDS * 4;

// Coefficient `at` of X^turn * ring.
HD uint64_t turned(const uint64_t *ring, uint32_t at, uint32_t turn) {
    const uint32_t from = at - turn;
    const uint64_t residue = ring[from & (N - 1)];
    return from & N ? negative_q(residue) : residue;
}

// Words of a key that are read at once; a key begins at a multiple of 16 bytes.
struct alignas(16) Four {
    uint32_t words[4];
};
HD Four four_at(const uint32_t *words) { return *reinterpret_cast<const Four *>(words); }

// What digits of mask and body give for the new ring `to`, modulo a prime, at this thread's points.
template <class Thread>
HD void product(Thread &thread, const Prime &prime, const uint32_t *of_bit, uint32_t to, uint32_t which,
                const uint32_t *of_mask, const uint32_t *of_body, uint32_t *points) {
    const uint32_t *by_mask = of_bit + (to * 2 + which) * N + at_last(thread.index(), 0);
    const uint32_t *by_body = by_mask + 4 * N;
UNROLL
    for (uint32_t four = 0; four < POINTS; four += 4) {
        const Four mask = four_at(by_mask + four);
        const Four body = four_at(by_body + four);
UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            points[four + j] = prime.reduce(static_cast<uint64_t>(of_mask[four + j]) * mask.words[j] +
                                            static_cast<uint64_t>(of_body[four + j]) * body.words[j]);
        }
    }
}

template <class Thread> HD void rotate_rns(Thread &thread, const RotateRns &args) {
    uint64_t *rings = thread.template shared<uint64_t>();
    uint32_t *words = reinterpret_cast<uint32_t *>(rings + 2 * N);
    const uint32_t ciphertext = thread.block();
    const Lookups &lookups = args.lookups;
    const uint16_t *turns = lookups.turns_of(ciphertext);
    const uint32_t *key = args.keys[lookups.key_of[ciphertext]];
    const uint64_t *table = lookups.polynomial_of(ciphertext);

    // X^-body * table, without a mask.
    const uint32_t back = (2 * N - turns[SMALL]) & (2 * N - 1);
ROLLED
    for (uint32_t at = thread.index(); at < N; at += NTT_THREADS) {
        const uint32_t from = (at - back) & (2 * N - 1);
        const uint64_t residue = to_q(table[from & (N - 1)]);
        rings[at] = 0;
        rings[N + at] = from < N ? residue : negative_q(residue);
    }
    thread.meet();

    for (uint32_t bit = 0; bit < SMALL; bit++) {
        const uint32_t turn = turns[bit];
        // Digits of mask and body, modulo both primes. The mask is first in the place of the body. Loops are rolled, since twice or four
        // times the code would not fit an instruction cache.
        uint32_t of_mask[2][POINTS], of_body[2][POINTS] = {};
ROLLED
        for (uint32_t ring = 0; ring < 2; ring++) {
            const uint64_t *words_of = rings + ring * N;
UNROLL
            for (uint32_t j = 0; j < POINTS; j++) {
                of_mask[0][j] = of_body[0][j];
                of_mask[1][j] = of_body[1][j];
                const uint32_t at = at_first(thread.index(), j);
                const int32_t d = digit(add_q(turned(words_of, at, turn), negative_q(words_of[at])));
                of_body[0][j] = of_digit(p0(), d);
                of_body[1][j] = of_digit(p1(), d);
            }
            transform(thread, p0(), args.twiddles[0], words, of_body[0]);
            transform(thread, p1(), args.twiddles[1], words, of_body[1]);
        }
        const uint32_t *of_bit = key + static_cast<uint64_t>(bit) * 8 * N;
ROLLED
        for (uint32_t to = 0; to < 2; to++) {
            uint32_t first[POINTS], second[POINTS];
            product(thread, p0(), of_bit, to, 0, of_mask[0], of_body[0], first);
            transform_back(thread, p0(), args.twiddles[0], words, first);
            product(thread, p1(), of_bit, to, 1, of_mask[1], of_body[1], second);
            transform_back(thread, p1(), args.twiddles[1], words, second);
            // All have read the rings since the transforms met, and each writes its own places.
UNROLL
            for (uint32_t j = 0; j < POINTS; j++) {
                uint64_t *residue = rings + to * N + at_first(thread.index(), j);
                *residue = add_q(*residue, joined(first[j], second[j]));
            }
        }
        thread.meet();
    }

    for (uint32_t read = lookups.reads_of[ciphertext]; read < lookups.reads_of[ciphertext + 1]; read++) {
        const ReadOf of(lookups.reads[read]);
        const uint32_t coefficient = of.coefficient;
        uint64_t *out = lookups.out_of(read);
ROLLED
        for (uint32_t i = thread.index(); i < N; i += NTT_THREADS) {
            const uint64_t residue = i <= coefficient ? rings[coefficient - i] : negative_q(rings[N + coefficient - i]);
            out[i] = of.kept(from_q(residue));
        }
        if (thread.index() == 0) {
            out[N] = of.kept(from_q(rings[N + coefficient]));
        }
    }
}
