// cluster.cuh: blocks of one grid, neighbours along x, that run at the same time and can write each other's shared memory.
//
//   cluster_block()     the number of this block in its cluster
//   cluster_arrive()    this thread has come; what it wrote before, in whatever block, is seen by who waits next
//   cluster_wait()      until all threads of all blocks of the cluster have come as often as this one; every arrival is followed by it
//   store_in_block(to, block, value)  to where `to`, in this block's shared memory, lies in that block's; a multiple of the value's size
//
// A block may be written to once it has started: so all arrive at the start, and wait before they write to others. From sm_90 on, where the
// launch asks for clusters; elsewhere, and on the host, a cluster is one block, and its barrier that of the block.
#pragma once

#include "mamba/shared_address.cuh"

namespace mamba {

__device__ __forceinline__ int cluster_block()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    int block;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(block));
    return block;
#else
    return 0;
#endif
}

__device__ __forceinline__ void cluster_arrive()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void cluster_wait()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
#else
    __syncthreads();
#endif
}

__device__ __forceinline__ void store_in_block(float2* to, [[maybe_unused]] int block, float2 value)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile(
        "{ .reg .b32 there; mapa.shared::cluster.u32 there, %0, %1; st.shared::cluster.v2.f32 [there], {%2, %3}; }" ::"r"(shared_address(to)),
        "r"(block), "f"(value.x), "f"(value.y)
        : "memory");
#else
    *to = value;
#endif
}

__device__ __forceinline__ void store_in_block(float4* to, [[maybe_unused]] int block, float4 value)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile(
        "{ .reg .b32 there; mapa.shared::cluster.u32 there, %0, %1; st.shared::cluster.v4.f32 [there], {%2, %3, %4, %5}; }" ::"r"(
            shared_address(to)),
        "r"(block), "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w)
        : "memory");
#else
    *to = value;
#endif
}

}  // namespace mamba
