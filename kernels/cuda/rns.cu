#include "convert.cuh"
#include "rotate_rns.cuh"
#include "thread.cuh"

extern "C" __global__ void __launch_bounds__(NTT_THREADS) rotate_rns_kernel(const __grid_constant__ RotateRns args) {
    DeviceThread thread;
    rotate_rns(thread, args);
}

extern "C" __global__ void __launch_bounds__(NTT_THREADS) convert_rns_kernel(const __grid_constant__ ConvertRns args) {
    DeviceThread thread;
    convert_rns(thread, args);
}
