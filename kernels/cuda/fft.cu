#include "convert.cuh"
#include "rotate_fft.cuh"
#include "thread.cuh"

extern "C" __global__ void __launch_bounds__(1 * FFT_THREADS_OF_ONE, 1)
    rotate_fft_1_kernel(const __grid_constant__ RotateFft args) {
    DeviceThread thread;
    rotate_fft<1>(thread, args);
}

extern "C" __global__ void __launch_bounds__(2 * FFT_THREADS_OF_ONE, 1)
    rotate_fft_2_kernel(const __grid_constant__ RotateFft args) {
    DeviceThread thread;
    rotate_fft<2>(thread, args);
}

extern "C" __global__ void __launch_bounds__(3 * FFT_THREADS_OF_ONE, 1)
    rotate_fft_3_kernel(const __grid_constant__ RotateFft args) {
    DeviceThread thread;
    rotate_fft<3>(thread, args);
}

extern "C" __global__ void __launch_bounds__(4 * FFT_THREADS_OF_ONE, 1)
    rotate_fft_4_kernel(const __grid_constant__ RotateFft args) {
    DeviceThread thread;
    rotate_fft<4>(thread, args);
}

extern "C" __global__ void __launch_bounds__(CONVERT_FFT_THREADS)
    convert_fft_kernel(const __grid_constant__ ConvertFft args) {
    DeviceThread thread;
    convert_fft(thread, args);
}
