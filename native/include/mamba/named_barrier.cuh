// named_barrier.cuh: barriers at which some threads of a block wait and others only announce that they have come.
//
// A block has 16, numbered from 0; __syncthreads uses 0. `threads` counts all that wait or arrive, a multiple of 32, and whole warps do either.
// What the arriving threads wrote to shared memory before is seen by those that waited. A kernel says before the first how many
// threads those count that it uses, from one number on.
//
// compute-sanitizer's racecheck, of CUDA 13.0, does not follow every arrival: it takes what is handed over so for a hazard in the smallest
// kernel too, where the same with two barrier_sync is none. With MAMBA_BARRIERS_IN_MEMORY defined (MAMBACUDA_NVRTC_OPTIONS) barriers are
// objects in shared memory instead (from sm_80 on), slower, which it follows.
#pragma once

#include "mamba/shared_address.cuh"

namespace mamba {

#if defined(__CUDA_ARCH__) && defined(MAMBA_BARRIERS_IN_MEMORY)

__device__ __forceinline__ unsigned int barrier_address(int id)
{
    __shared__ unsigned long long barriers[16];
    return shared_address(barriers + id);
}

// Barriers `first` to `first + count - 1`; a barrier of the whole block itself.
__device__ __forceinline__ void barriers_begin(int first, int count, int threads)
{
    if (threadIdx.x == 0) {
        for (int id = first; id < first + count; ++id) {
            asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier_address(id)), "r"(threads) : "memory");
        }
    }
    __syncthreads();
}

__device__ __forceinline__ unsigned long long barrier_phase(int id)
{
    unsigned long long phase;
    asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(phase) : "r"(barrier_address(id)) : "memory");
    return phase;
}

__device__ __forceinline__ void barrier_sync(int id, int)
{
    unsigned long long phase = barrier_phase(id);
    int done = 0;
    while (done == 0) {
        asm volatile(
            "{ .reg .pred p; mbarrier.test_wait.shared.b64 p, [%1], %2; selp.s32 %0, 1, 0, p; }"
            : "=r"(done)
            : "r"(barrier_address(id)), "l"(phase)
            : "memory");
    }
}

__device__ __forceinline__ void barrier_arrive(int id, int) { barrier_phase(id); }

#else

__device__ __forceinline__ void barriers_begin(int, int, int) {}

#if defined(__CUDA_ARCH__)

__device__ __forceinline__ void barrier_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

__device__ __forceinline__ void barrier_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

#else

// The host shim has both; see native/host.
__device__ __forceinline__ void barrier_sync(int id, int threads) { __mamba_barrier_sync(id, threads); }

__device__ __forceinline__ void barrier_arrive(int id, int threads) { __mamba_barrier_arrive(id, threads); }

#endif

#endif

}  // namespace mamba
