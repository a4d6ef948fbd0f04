// What device code and its emulation share. Every kernel is a template over a `Thread`: the device's (thread.cuh), or one of
// an emulated block (emulate.hpp), which g++ compiles and any machine runs.
#pragma once

#ifdef __CUDACC_RTC__
// A driver's compiler has no headers.
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#define UINT64_MAX 0xffffffffffffffffull
#else
#include <stdint.h>
#endif

#ifdef __CUDACC__
#define HD __host__ __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#else
#define HD inline
#define UNROLL
#define ROLLED
#endif

constexpr uint32_t N = 2048;      // degree of the ring
constexpr uint32_t LOG_N = 11;
constexpr uint32_t LWE_WORDS = N + 1;
constexpr uint32_t SMALL = 918;   // dimension of what a rotation takes
constexpr uint32_t SMALL_WORDS = SMALL + 1;

// The upper half of a product.
HD uint32_t mul_high(uint32_t a, uint32_t b) {
    return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}

HD uint64_t mul_high(uint64_t a, uint64_t b) {
#ifdef __CUDA_ARCH__
    return __umul64hi(a, b);
#else
    return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
#endif
}
