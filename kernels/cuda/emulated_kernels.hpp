// All kernels, with their entry, their arguments, and what a launch gives them. One that is launched with blocks of several sizes has
// a name for each.
#pragma once

#include "convert.cuh"
#include "emulate.hpp"
#include "keyswitch.cuh"
#include "linear.cuh"
#include "modulus_switch.cuh"
#include "rotate_fft.cuh"
#include "rotate_rns.cuh"

// X(name, entry, Args, threads, shared, body)
#define EMULATED_KERNELS(X)                                                                                            \
    X(keyswitch_1, keyswitch_1, Keyswitch, KS_THREADS, keyswitch_shared<1>(), keyswitch<1>)                            \
    X(keyswitch_8, keyswitch_8, Keyswitch, KS_THREADS, keyswitch_shared<8>(), keyswitch<8>)                            \
    X(keyswitch_32, keyswitch_32, Keyswitch, KS_THREADS, keyswitch_shared<32>(), keyswitch<32>)                        \
    X(modulus_switch, modulus_switch, ModulusSwitch, SWITCH_THREADS, SWITCH_SHARED, modulus_switch)                    \
    X(linear, linear, Linear, LINEAR_THREADS, 0, linear)                                                               \
    X(convert_fft, convert_fft, ConvertFft, CONVERT_FFT_THREADS, CONVERT_FFT_SHARED, convert_fft)                      \
    X(convert_rns, convert_rns, ConvertRns, NTT_THREADS, CONVERT_RNS_SHARED, convert_rns)                              \
    X(rotate_fft_1, rotate_fft, RotateFft, 1 * FFT_THREADS_OF_ONE, 1 * FFT_SHARED_OF_ONE, rotate_fft)                  \
    X(rotate_fft_2, rotate_fft, RotateFft, 2 * FFT_THREADS_OF_ONE, 2 * FFT_SHARED_OF_ONE, rotate_fft)                  \
    X(rotate_fft_3, rotate_fft, RotateFft, 3 * FFT_THREADS_OF_ONE, 3 * FFT_SHARED_OF_ONE, rotate_fft)                  \
    X(rotate_fft_4, rotate_fft, RotateFft, 4 * FFT_THREADS_OF_ONE, 4 * FFT_SHARED_OF_ONE, rotate_fft)                  \
    X(rotate_rns, rotate_rns, RotateRns, NTT_THREADS, ROTATE_RNS_SHARED, rotate_rns)
