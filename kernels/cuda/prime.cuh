// Arithmetic modulo the two primes, and modulo their product Q: kernels/src/rns in device code, to the bit.
#pragma once

#include "portable.cuh"

HD uint32_t lesser(uint32_t a, uint32_t b) { return a < b ? a : b; }

// What is too large or below zero wraps around, and is then the greater of the two.
struct Prime {
    uint32_t p;
    uint64_t reciprocal; // floor(2^64 / p)

    HD uint32_t add(uint32_t a, uint32_t b) const {
        const uint32_t sum = a + b;
        return lesser(sum, sum - p);
    }
    HD uint32_t sub(uint32_t a, uint32_t b) const { return lesser(a - b, a - b + p); }

    // Of anything below 2^64 (Barrett 1986): the quotient is short by one at most.
    HD uint32_t reduce(uint64_t x) const {
        const uint64_t rest = x - mul_high(x, reciprocal) * p;
        return static_cast<uint32_t>(rest >= p ? rest - p : rest);
    }
};

// A constant factor w below p, and floor(w * 2^32 / p) beside it (Shoup's way, in NTL's mulmod); read at once.
struct alignas(8) Factor {
    uint32_t w;
    uint32_t w_over_p;
};

HD uint32_t mul(const Prime &prime, uint32_t a, Factor by) {
    // a * w - floor(..) * p lies in 0..2p, and so in 32 bits.
    const uint32_t rest = a * by.w - mul_high(a, by.w_over_p) * prime.p;
    return lesser(rest, rest - prime.p);
}

constexpr uint32_t PRIME_0 = 2147389441u;
constexpr uint32_t PRIME_1 = 2147377153u;
constexpr uint64_t Q = static_cast<uint64_t>(PRIME_0) * PRIME_1;
// Neither divides 2^64, so that its greatest number has the same quotient.
HD constexpr Prime p0() { return {PRIME_0, UINT64_MAX / PRIME_0}; }
HD constexpr Prime p1() { return {PRIME_1, UINT64_MAX / PRIME_1}; }
// floor(2^125 / Q), and (2^64 / Q - 4) * 2^64 rounded: see rns.rs, whose test holds these against its own.
constexpr uint64_t TO_61_BITS = static_cast<uint64_t>((static_cast<unsigned __int128>(1) << 125) / Q);
constexpr uint64_t BEYOND_FOUR =
    static_cast<uint64_t>((((static_cast<unsigned __int128>(1) << 64) - 4 * static_cast<unsigned __int128>(Q)) << 64) / Q + 1);
// 1 / p0 modulo p1.
HD constexpr uint32_t power(uint32_t base, uint32_t exponent, uint32_t p) {
    uint64_t result = 1, square = base;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) {
            result = result * square % p;
        }
        square = square * square % p;
    }
    return static_cast<uint32_t>(result);
}
constexpr uint32_t INVERSE_P0 = power(PRIME_0 % PRIME_1, PRIME_1 - 2, PRIME_1);
HD constexpr Factor times_inverse_p0() {
    return {INVERSE_P0, static_cast<uint32_t>((static_cast<uint64_t>(INVERSE_P0) << 32) / PRIME_1)};
}

HD uint64_t add_q(uint64_t a, uint64_t b) {
    const uint64_t sum = a + b;
    return sum >= Q ? sum - Q : sum;
}
HD uint64_t negative_q(uint64_t a) { return a == 0 ? 0 : Q - a; }

// The signed digit of a residue, in -2^22..2^22.
HD int32_t digit(uint64_t residue) {
    const uint64_t places = (mul_high(residue, TO_61_BITS) + (1ull << 37)) >> 38;
    return static_cast<int32_t>((static_cast<uint32_t>(places) + (1u << 22)) & ((1u << 23) - 1)) - (1 << 22);
}

HD uint32_t of_digit(const Prime &prime, int32_t digit) {
    return lesser(static_cast<uint32_t>(digit), static_cast<uint32_t>(digit) + prime.p);
}

// The residue modulo Q with these residues (Garner 1959). p0 is the greater prime by less than p1.
HD uint64_t joined(uint32_t a, uint32_t b) {
    const uint32_t a_mod_p1 = a >= PRIME_1 ? a - PRIME_1 : a;
    const uint32_t times = mul(p1(), p1().sub(b, a_mod_p1), times_inverse_p0());
    return a + static_cast<uint64_t>(PRIME_0) * times;
}

// From a word of the torus: round(word * Q / 2^64), modulo Q.
HD uint64_t to_q(uint64_t word) {
    const uint64_t scaled = mul_high(word, Q) + ((word * Q) >> 63);
    return scaled == Q ? 0 : scaled;
}

// Back to a word of the torus.
HD uint64_t from_q(uint64_t residue) { return (residue << 2) + mul_high(residue, BEYOND_FOUR); }
