// A thread of a real block.
#pragma once

#include "portable.cuh"

extern __shared__ __align__(16) unsigned char shared_memory[];

struct DeviceThread {
    __device__ __forceinline__ uint32_t index() const { return threadIdx.x; }
    __device__ __forceinline__ uint32_t count() const { return blockDim.x; }
    __device__ __forceinline__ uint32_t block() const { return blockIdx.x; }

    // Of the whole block, the same for all of its threads.
    template <class T> __device__ __forceinline__ T *shared() const {
        return reinterpret_cast<T *>(shared_memory);
    }

    // All threads of the block meet here.
    __device__ __forceinline__ void meet() const { __syncthreads(); }

    // Adds to a word that others add to as well.
    __device__ __forceinline__ void add(uint32_t *word, uint32_t value) const { atomicAdd(word, value); }

    // All threads of the warp meet here: what they wrote to shared memory before is there for each of them.
    __device__ __forceinline__ void meet_warp() const { __syncwarp(); }
};
