// Kernels on the CPU, for the tests: the same code as on a device, block after block.

#include "emulate.hpp"
#include "rotate_fft.cuh"
#include "rotate_rns.cuh"

extern "C" void emulated_rotate_rns(const RotateRns *args, uint32_t ciphertexts, bool downwards) {
    emulate(ciphertexts, NTT_THREADS, ROTATE_RNS_SHARED, downwards,
            [args](EmulatedThread &thread) { rotate_rns(thread, *args); });
}

extern "C" void emulated_rotate_fft(const RotateFft *args, bool downwards) {
    const uint32_t blocks = (args->ciphertexts + FFT_TOGETHER - 1) / FFT_TOGETHER;
    emulate(blocks, FFT_THREADS, ROTATE_FFT_SHARED, downwards,
            [args](EmulatedThread &thread) { rotate_fft(thread, *args); });
}
