#include "convert.cuh"
#include "rotate_fft.cuh"
#include "thread.cuh"

extern "C" __global__ void __launch_bounds__(FFT_THREADS, 1) rotate_fft_kernel(const __grid_constant__ RotateFft args) {
    DeviceThread thread;
    rotate_fft(thread, args);
}

extern "C" __global__ void __launch_bounds__(CONVERT_FFT_THREADS)
    convert_fft_kernel(const __grid_constant__ ConvertFft args) {
    DeviceThread thread;
    convert_fft(thread, args);
}
