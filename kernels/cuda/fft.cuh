// The transform of real polynomials modulo X^2048 + 1 by one warp: 1024 complex points, 32 to a thread, in registers but for
// one exchange.
//
// Coefficients j and j + 1024 are real and imaginary part of point j: a polynomial modulo X^1024 - i (Fourier over the complex
// numbers, as tfhe-rs and FFTs of the torus have it since Chillotti et al. 2020). That splits into X^512 -+ sqrt(i), and so on in ten
// stages, with the roots in the butterflies (as Longa and Naehrig 2016 do it modulo a prime), so that nothing is twisted
// before or after. A thread's points lie 32 apart for five stages and side by side for five.
#pragma once

#include "portable.cuh"

constexpr uint32_t FFT_POINTS = N / 2;
constexpr uint32_t FFT_OWN = 32; // points of a thread

struct alignas(16) Complex {
    double re, im;
};

HD Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
HD Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
HD Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
HD Complex conjugate(Complex a) { return {a.re, -a.im}; }

// Where a point lies in an exchange: one in 33 is left free, so that eight neighbours' points lie in all banks.
constexpr uint32_t FFT_EXCHANGE = FFT_POINTS + FFT_POINTS / 32;
HD uint32_t fft_place(uint32_t at) { return at + (at >> 5); }

// Roots: of stage s and group g at 2^s + g, so 1024 with one unused. Five stages on points whose places differ in five bits; the
// first of them has `groups` groups, of which these are of number `group`.
HD void five_stages(const Complex *roots, uint32_t groups, uint32_t group, Complex *points) {
UNROLL
    for (uint32_t stage = 0; stage < 5; stage++) {
        const uint32_t half = 16u >> stage;
UNROLL
        for (uint32_t low = 0; low < FFT_OWN; low++) {
            if (low & half) {
                continue;
            }
            const Complex turned = points[low + half] * roots[((groups + group) << stage) + (low >> (5 - stage))];
            points[low + half] = points[low] - turned;
            points[low] = points[low] + turned;
        }
    }
}

HD void five_stages_back(const Complex *roots, uint32_t groups, uint32_t group, Complex *points) {
UNROLL
    for (uint32_t turn = 0; turn < 5; turn++) {
        const uint32_t stage = 4 - turn;
        const uint32_t half = 16u >> stage;
UNROLL
        for (uint32_t low = 0; low < FFT_OWN; low++) {
            if (low & half) {
                continue;
            }
            const Complex root = conjugate(roots[((groups + group) << stage) + (low >> (5 - stage))]);
            const Complex sum = points[low] + points[low + half];
            points[low + half] = (points[low] - points[low + half]) * root;
            points[low] = sum;
        }
    }
}

// From points lane + 32 j to points 32 lane + j. `exchange` is the warp's own.
template <class Thread>
HD void fft(Thread &thread, uint32_t lane, const Complex *roots, Complex *exchange, Complex *points) {
    five_stages(roots, 1, 0, points);
    thread.meet_warp();
UNROLL
    for (uint32_t j = 0; j < FFT_OWN; j++) {
        exchange[fft_place(lane + 32 * j)] = points[j];
    }
    thread.meet_warp();
UNROLL
    for (uint32_t j = 0; j < FFT_OWN; j++) {
        points[j] = exchange[fft_place(32 * lane + j)];
    }
    five_stages(roots, 32, lane, points);
}

// From points 32 lane + j to points lane + 32 j, 1024 times too large.
template <class Thread>
HD void fft_back(Thread &thread, uint32_t lane, const Complex *roots, Complex *exchange, Complex *points) {
    five_stages_back(roots, 32, lane, points);
    thread.meet_warp();
UNROLL
    for (uint32_t j = 0; j < FFT_OWN; j++) {
        exchange[fft_place(32 * lane + j)] = points[j];
    }
    thread.meet_warp();
UNROLL
    for (uint32_t j = 0; j < FFT_OWN; j++) {
        points[j] = exchange[fft_place(lane + 32 * j)];
    }
    five_stages_back(roots, 1, 0, points);
}
