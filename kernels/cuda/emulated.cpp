// Kernels on the CPU, for the tests: the same code as on a device, block after block, in one of two orders.

#include "emulated_kernels.hpp"

#define EMULATED(name, entry, Args, threads, shared, body)                                                                    \
    extern "C" void emulated_##name(const Args *args, uint32_t blocks, bool downwards) {                               \
        emulate(blocks, threads, shared, downwards, [args](EmulatedThread &thread) { body(thread, *args); });          \
    }                                                                                                                  \
    extern "C" uint32_t threads_of_##name() { return threads; }                                                        \
    extern "C" uint32_t shared_of_##name() { return shared; }

EMULATED_KERNELS(EMULATED)
