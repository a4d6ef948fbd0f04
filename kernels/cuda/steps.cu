#include "keyswitch.cuh"
#include "linear.cuh"
#include "modulus_switch.cuh"
#include "thread.cuh"

extern "C" __global__ void __launch_bounds__(KS_THREADS) keyswitch_1_kernel(const __grid_constant__ Keyswitch args) {
    DeviceThread thread;
    keyswitch<1>(thread, args);
}

extern "C" __global__ void __launch_bounds__(KS_THREADS) keyswitch_8_kernel(const __grid_constant__ Keyswitch args) {
    DeviceThread thread;
    keyswitch<8>(thread, args);
}

extern "C" __global__ void __launch_bounds__(KS_THREADS) keyswitch_32_kernel(const __grid_constant__ Keyswitch args) {
    DeviceThread thread;
    keyswitch<32>(thread, args);
}

extern "C" __global__ void __launch_bounds__(SWITCH_THREADS)
    modulus_switch_kernel(const __grid_constant__ ModulusSwitch args) {
    DeviceThread thread;
    modulus_switch(thread, args);
}

extern "C" __global__ void __launch_bounds__(LINEAR_THREADS) linear_kernel(const __grid_constant__ Linear args) {
    DeviceThread thread;
    linear(thread, args);
}
