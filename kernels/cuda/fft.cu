#include "convert.cuh"
#include "rotate_fft.cuh"
#include "thread.cuh"

#define ROTATE_FFT(TOGETHER)                                                                                           \
    extern "C" __global__ void __launch_bounds__(TOGETHER *FFT_THREADS_OF_ONE, 1)                                      \
        rotate_fft_##TOGETHER##_kernel(const __grid_constant__ RotateFft args) {                                       \
        DeviceThread thread;                                                                                           \
        rotate_fft<TOGETHER>(thread, args);                                                                            \
    }

ROTATE_FFT(1)
ROTATE_FFT(2)
ROTATE_FFT(3)
ROTATE_FFT(4)

extern "C" __global__ void __launch_bounds__(CONVERT_FFT_THREADS)
    convert_fft_kernel(const __grid_constant__ ConvertFft args) {
    DeviceThread thread;
    convert_fft(thread, args);
}
