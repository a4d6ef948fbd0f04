// Kernels on the CPU, for the tests: the same code as on a device, block after block.

#include "convert.cuh"
#include "emulate.hpp"
#include "keyswitch.cuh"
#include "linear.cuh"
#include "modulus_switch.cuh"
#include "rotate_fft.cuh"
#include "rotate_rns.cuh"

// Every kernel as a launch of so many blocks; the order of blocks and threads is one of two.
#define EMULATED(name, Args, threads, shared, body)                                                                    \
    extern "C" void emulated_##name(const Args *args, uint32_t blocks, bool downwards) {                               \
        emulate(blocks, threads, shared, downwards, [args](EmulatedThread &thread) { body(thread, *args); });          \
    }                                                                                                                  \
    extern "C" uint32_t threads_of_##name() { return threads; }                                                        \
    extern "C" uint32_t shared_of_##name() { return shared; }

EMULATED(keyswitch_1, Keyswitch, KS_THREADS, keyswitch_shared<1>(), keyswitch<1>)
EMULATED(keyswitch_8, Keyswitch, KS_THREADS, keyswitch_shared<8>(), keyswitch<8>)
EMULATED(keyswitch_32, Keyswitch, KS_THREADS, keyswitch_shared<32>(), keyswitch<32>)
EMULATED(modulus_switch, ModulusSwitch, SWITCH_THREADS, SWITCH_SHARED, modulus_switch)
EMULATED(linear, Linear, LINEAR_THREADS, 0, linear)
EMULATED(convert_fft, ConvertFft, CONVERT_FFT_THREADS, CONVERT_FFT_SHARED, convert_fft)
EMULATED(convert_rns, ConvertRns, NTT_THREADS, CONVERT_RNS_SHARED, convert_rns)
EMULATED(rotate_fft_1, RotateFft, 1 * FFT_THREADS_OF_ONE, 1 * FFT_SHARED_OF_ONE, rotate_fft<1>)
EMULATED(rotate_fft_2, RotateFft, 2 * FFT_THREADS_OF_ONE, 2 * FFT_SHARED_OF_ONE, rotate_fft<2>)
EMULATED(rotate_fft_3, RotateFft, 3 * FFT_THREADS_OF_ONE, 3 * FFT_SHARED_OF_ONE, rotate_fft<3>)
EMULATED(rotate_fft_4, RotateFft, 4 * FFT_THREADS_OF_ONE, 4 * FFT_SHARED_OF_ONE, rotate_fft<4>)
EMULATED(rotate_rns, RotateRns, NTT_THREADS, ROTATE_RNS_SHARED, rotate_rns)
