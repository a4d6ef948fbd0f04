// Kernels on the CPU, for the tests: the same code as on a device, block after block.

#include "emulate.hpp"
#include "rotate_rns.cuh"

extern "C" void emulated_rotate_rns(const RotateRns *args, uint32_t ciphertexts, bool downwards) {
    emulate(ciphertexts, NTT_THREADS, ROTATE_RNS_SHARED, downwards,
            [args](EmulatedThread &thread) { rotate_rns(thread, *args); });
}
