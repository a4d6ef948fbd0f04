// The transform of real polynomials modulo X^2048 + 1 by one warp: 1024 complex points, 32 to a thread, in registers but for
// one exchange.
//
// Coefficients j and j + 1024 are real and imaginary part of point j: a polynomial modulo X^1024 - i (Fourier over the complex
// numbers, as tfhe-rs and FFTs of the torus have it since Chillotti et al. 2020). That splits into X^512 -+ sqrt(i), and so on in ten
// stages, with the roots in the butterflies (as Longa and Naehrig 2016 do it modulo a prime), so that nothing is twisted
// before or after. A thread's points lie 32 apart for five stages and side by side for five.
#pragma once

#include "stages.cuh"

constexpr uint32_t FFT_POINTS = N / 2;
constexpr uint32_t FFT_OWN = 32; // points of a thread

struct alignas(16) Complex {
    double re, im;
};

HD Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
HD Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
HD Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
HD Complex conjugate(Complex a) { return {a.re, -a.im}; }
HD Complex quarter_turn(Complex a) { return {-a.im, a.re}; }
HD double multiply_add(double a, double b, double c) {
#ifdef __CUDA_ARCH__
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}
HD Complex multiply_add(Complex a, Complex b, Complex c) {
    return {multiply_add(a.re, b.re, multiply_add(-a.im, b.im, c.re)),
            multiply_add(a.re, b.im, multiply_add(a.im, b.re, c.im))};
}

// Where a point lies in an exchange: one in 33 is left free, so that eight neighbours' points lie in all banks.
constexpr uint32_t FFT_EXCHANGE = FFT_POINTS + FFT_POINTS / 32;
HD uint32_t fft_place(uint32_t at) { return at + (at >> 5); }

struct FourierButterfly {
    HD void forward(Complex &low, Complex &high, Complex root) const {
        const Complex sum = multiply_add(high, root, low);
        // low - high * root, in two operations where four would be.
        high = {multiply_add(2.0, low.re, -sum.re), multiply_add(2.0, low.im, -sum.im)};
        low = sum;
    }
    // A root's inverse is its conjugate.
    HD void backward(Complex &low, Complex &high, Complex root) const {
        const Complex sum = low + high;
        high = (low - high) * conjugate(root);
        low = sum;
    }
};

// Roots of five stages on a thread's points, STRIDE apart. Those of groups 2 h and 2 h + 1 differ by a quarter of a turn, so that one
// is kept for both: the first stage's, and then that of group 2 h of stage s at 2^(s - 1) + h.
constexpr uint32_t ROOTS_OF_FIVE = 16;
template <uint32_t STRIDE> struct RootsOfFive {
    const Complex *roots;

    HD Complex of(uint32_t stage, uint32_t group) const {
        const Complex root = roots[((1u << stage) + group) / 2 * STRIDE];
        return group % 2 == 0 ? root : quarter_turn(root);
    }
};

// What `roots` holds: those of the first five stages, which all lanes share, and those of the last five, of each place for 32 lanes
// side by side.
HD RootsOfFive<1> first_roots(const Complex *roots) { return {roots}; }
HD RootsOfFive<32> last_roots(const Complex *roots, uint32_t lane) { return {roots + ROOTS_OF_FIVE + lane}; }

// From points lane + 32 j to points 32 lane + j. `exchange` is the warp's own.
template <class Thread>
HD void fft(Thread &thread, uint32_t lane, const Complex *roots, Complex *exchange, Complex *points) {
    stages<5, FFT_OWN>(first_roots(roots), points, FourierButterfly{});
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
    stages<5, FFT_OWN>(last_roots(roots, lane), points, FourierButterfly{});
}

// From points 32 lane + j to points lane + 32 j, 1024 times too large.
template <class Thread>
HD void fft_back(Thread &thread, uint32_t lane, const Complex *roots, Complex *exchange, Complex *points) {
    stages_back<5, FFT_OWN>(last_roots(roots, lane), points, FourierButterfly{});
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
    stages_back<5, FFT_OWN>(first_roots(roots), points, FourierButterfly{});
}
