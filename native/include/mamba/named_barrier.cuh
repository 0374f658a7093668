// named_barrier.cuh: barriers at which some threads of a block wait and others only announce that they have come.
//
// A block has 16, numbered from 0; __syncthreads uses 0. `threads` counts all that wait or arrive, a multiple of 32, and whole warps do either.
// What the arriving threads wrote to shared memory before is seen by those that waited. (compute-sanitizer's racecheck, of CUDA 13.0, does
// not follow every arrival: it takes what is handed over so for a hazard in the smallest kernel too, where the same with two barrier_sync
// is none.)
#pragma once

namespace mamba {

#if defined(__CUDA_ARCH__)

__device__ __forceinline__ void barrier_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

__device__ __forceinline__ void barrier_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

#else

// The host shim has both; see native/host.
__device__ __forceinline__ void barrier_sync(int id, int threads) { __mamba_barrier_sync(id, threads); }

__device__ __forceinline__ void barrier_arrive(int id, int threads) { __mamba_barrier_arrive(id, threads); }

#endif

}  // namespace mamba
