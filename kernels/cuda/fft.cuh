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

// Of a point and another one that is turned by a root, sum and difference.
struct FourierButterfly {
    HD void forward(Complex &low, Complex &high, Complex root) const {
        const Complex sum = multiply_add(high, root, low);
        // low - high * root, in two operations where four would be.
        high = {multiply_add(2.0, low.re, -sum.re), multiply_add(2.0, low.im, -sum.im)};
        low = sum;
    }
};

// What is read of memory, in this order: roots of the first five stages of a transform, which all lanes share; roots of its last five,
// of each place for 32 lanes side by side; as many of the way back; and for each point what the way back ends with.
constexpr uint32_t LANES = 32;
constexpr uint32_t ROOTS_OF_FIVE = 16;
constexpr uint32_t ROOTS_BACK = ROOTS_OF_FIVE + ROOTS_OF_FIVE * LANES;
constexpr uint32_t ROOTS_ENDS = ROOTS_BACK + ROOTS_OF_FIVE * LANES;

// Roots of five stages on a thread's points, STRIDE apart. Those of groups 2 h and 2 h + 1 differ by a quarter of a turn, so that one
// is kept for both: the first stage's, and then that of group 2 h of stage s at 2^(s - 1) + h.
template <uint32_t STRIDE> struct RootsOfFive {
    const Complex *roots;

    HD Complex of(uint32_t stage, uint32_t group) const {
        const Complex root = roots[((1u << stage) + group) / 2 * STRIDE];
        return group % 2 == 0 ? root : quarter_turn(root);
    }
};
HD RootsOfFive<1> first_roots(const Complex *roots) { return {roots}; }
HD RootsOfFive<LANES> last_roots(const Complex *roots, uint32_t lane) { return {roots + ROOTS_OF_FIVE + lane}; }

// Five stages of the way back, which does not undo each turn of the way there where it was: a turn that all points of a half still
// lack is left to the end, and what its other half lacks beyond that does not depend on the group. So point k of the upper half is
// turned back by k / half of half a turn, and at the end point k by k / 2048 of it: the textbook's transform between twisted points.
// The first stages then hardly multiply.
template <class Turns> HD void stages_of_turns(Complex *points, const Turns &turns) {
UNROLL
    for (uint32_t half = 1; half < FFT_OWN; half *= 2) {
UNROLL
        for (uint32_t low = 0; low < FFT_OWN; low++) {
            if (!(low & half)) {
                const uint32_t k = low & (half - 1);
                Complex &high = points[low + half];
                // The second half of these lacks a quarter of a turn more.
                const bool is_second = half > 1 && k >= half / 2;
                if (is_second) {
                    high = {high.im, -high.re};
                }
                turns(points[low], high, half, is_second ? k - half / 2 : k);
            }
        }
    }
}

// On points side by side, whose turns are known here.
struct InnerTurns {
    // Of n sixteenths of half a turn.
    HD static double cosine(uint32_t n) {
        return n == 1   ? 0.98078528040323044913
               : n == 2 ? 0.92387953251128675613
               : n == 3 ? 0.83146961230254523708
               : n == 4 ? 0.70710678118654752440
               : n == 5 ? 0.55557023301960222474
               : n == 6 ? 0.38268343236508977173
                        : 0.19509032201612826785;
    }

    HD void operator()(Complex &low, Complex &high, uint32_t half, uint32_t k) const {
        if (k == 0) {
            const Complex sum = low + high;
            high = low - high;
            low = sum;
        } else {
            const uint32_t n = FFT_OWN / 2 / half * k;
            FourierButterfly{}.forward(low, high, {cosine(n), -cosine(8 - n)});
        }
    }
};

// On points 32 apart: of each stage those of the lane's first points, at half of `half` and k.
struct OuterTurns {
    const Complex *roots;

    HD void operator()(Complex &low, Complex &high, uint32_t half, uint32_t k) const {
        FourierButterfly{}.forward(low, high, roots[(half / 2 + k) * LANES]);
    }
};

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

// From points 32 lane + j to points lane + 32 j, 1024 times too large; what they end with has the 2^32 words of a turn in it.
template <class Thread>
HD void fft_back(Thread &thread, uint32_t lane, const Complex *roots, Complex *exchange, Complex *points) {
    stages_of_turns(points, InnerTurns{});
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
    stages_of_turns(points, OuterTurns{roots + ROOTS_BACK + lane});
    const Complex *ends = roots + ROOTS_ENDS;
UNROLL
    for (uint32_t j = 0; j < FFT_OWN; j++) {
        points[j] = points[j] * ends[lane + 32 * j];
    }
}
