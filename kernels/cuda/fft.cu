#include "convert.cuh"
#include "rotate_fft.cuh"
#include "thread.cuh"

// Launched with as many threads as the block has ciphertexts.
extern "C" __global__ void __launch_bounds__(FFT_MOST_TOGETHER *FFT_THREADS_OF_ONE, 1)
    rotate_fft_kernel(const __grid_constant__ RotateFft args) {
    DeviceThread thread;
    rotate_fft(thread, args);
}

extern "C" __global__ void __launch_bounds__(CONVERT_FFT_THREADS)
    convert_fft_kernel(const __grid_constant__ ConvertFft args) {
    DeviceThread thread;
    convert_fft(thread, args);
}
