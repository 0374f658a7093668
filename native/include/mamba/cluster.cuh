// cluster.cuh: blocks of one grid that run at the same time and can write each other's shared memory, a cluster of kBlocks along x.
//
//   cluster_block<n>()            the number of this block in its cluster
//   cluster_arrive<n>()           this thread has come; what it wrote before, in whatever block, is seen by who waits next
//   cluster_wait<n>()             until all threads of all blocks have come as often as this one
//   store_in_block<n>(to, block, a, b)  two floats to where `to`, in this block's shared memory, lies in the other's; a multiple of 8 bytes
//
// A block may be written to once it has started: so all arrive at the start, and wait before they write to others. From sm_90 on; elsewhere,
// and on the host, a cluster is one block, and the barrier is that of the block.
#pragma once

#include "mamba/shared_address.cuh"

namespace mamba {

template <int kBlocks>
__device__ __forceinline__ int cluster_block()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1) {
        int block;
        asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(block));
        return block;
    }
#endif
    return 0;
}

template <int kBlocks>
__device__ __forceinline__ void cluster_arrive()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1) {
        asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
    }
#endif
}

template <int kBlocks>
__device__ __forceinline__ void cluster_wait()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1) {
        asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
        return;
    }
#endif
    __syncthreads();
}

template <int kBlocks>
__device__ __forceinline__ void store_in_block(float2* to, [[maybe_unused]] int block, float first, float second)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (kBlocks > 1) {
        asm volatile(
            "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1; st.shared::cluster.v2.f32 [remote], {%2, %3}; }" ::"r"(
                shared_address(to)),
            "r"(block), "f"(first), "f"(second)
            : "memory");
        return;
    }
#endif
    *to = make_float2(first, second);
}

}  // namespace mamba
