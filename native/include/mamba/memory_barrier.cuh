// memory_barrier.cuh: barriers that lie in shared memory, for a ring of stages that some warps fill and others empty.
//
//   MemoryBarrier               one of them; a phase ends when `count` arrivals have come, and the next begins by itself
//   begin(count)                by one thread, before a barrier of the block
//   arrive()                    one arrival; what this thread wrote before is seen by who waited
//   arrive_after_copies()       one arrival, as soon as all async_copy of this thread so far are there; it is not waited for here
//   wait(parity)                until the phase of that parity, the number of phases before it modulo 2, has ended
//
// mbarrier, from sm_80 on; on the host a count, since only one thread of a block runs at a time. Before sm_80 there is none.
#pragma once

#include "mamba/shared_address.cuh"

namespace mamba {

struct MemoryBarrier {
    unsigned long long state;

#if defined(__CUDA_ARCH__)
    __device__ __forceinline__ void begin(int count)
    {
#if __CUDA_ARCH__ >= 800
        asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(this)), "r"(count) : "memory");
#endif
    }

    __device__ __forceinline__ void arrive()
    {
#if __CUDA_ARCH__ >= 800
        asm volatile("{ .reg .b64 phase; mbarrier.arrive.shared.b64 phase, [%0]; }" ::"r"(shared_address(this)) : "memory");
#endif
    }

    __device__ __forceinline__ void arrive_after_copies()
    {
#if __CUDA_ARCH__ >= 800
        asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(this)) : "memory");
#endif
    }

    __device__ __forceinline__ bool has_ended(unsigned int parity)
    {
        int done = 1;
#if __CUDA_ARCH__ >= 900
        asm volatile(
            "{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.s32 %0, 1, 0, p; }"
            : "=r"(done)
            : "r"(shared_address(this)), "r"(parity)
            : "memory");
#elif __CUDA_ARCH__ >= 800
        // Its parity form came with PTX 7.1.
        asm volatile(
            "{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.s32 %0, 1, 0, p; }"
            : "=r"(done)
            : "r"(shared_address(this)), "r"(parity)
            : "memory");
#endif
        return done != 0;
    }

    __device__ __forceinline__ void wait(unsigned int parity)
    {
        while (!has_ended(parity)) {
        }
    }
#else
    // From the lowest bit: arrivals still to come, of how many, 16 bits each; the number of phases that have ended.
    __device__ void begin(int count) { state = static_cast<unsigned long long>(count) * 0x10001u; }

    __device__ void arrive()
    {
        --state;
        if ((state & 0xffffu) == 0) {
            state += (state >> 16 & 0xffffu) + (1ull << 32);
        }
    }

    __device__ void arrive_after_copies() { arrive(); }

    __device__ bool has_ended(unsigned int parity) { return (state >> 32 & 1u) != parity; }

    __device__ void wait(unsigned int parity)
    {
        while (!has_ended(parity)) {
            __mamba_let_others_run();
        }
    }
#endif
};

}  // namespace mamba
