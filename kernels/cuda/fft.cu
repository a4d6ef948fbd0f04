#include "rotate_fft.cuh"
#include "thread.cuh"

extern "C" __global__ void __launch_bounds__(FFT_THREADS, 1) rotate_fft_kernel(const __grid_constant__ RotateFft args) {
    DeviceThread thread;
    rotate_fft(thread, args);
}
