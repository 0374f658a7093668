// async_copy.cuh: up to 16 bytes at a time from global to shared memory, in the background.
//
//   async_copy_16(shared, global, bytes)   the first `bytes` (0 to 16) are copied, the rest of the 16 is zero; both addresses are
//                                          multiples of 16, and what lies behind `bytes` is not read
//   async_copy<n>(shared, global, there)   n bytes, 4, 8 or 16, or n bytes of zero where there are none; fewer than 16 go through the
//                                          first-level cache
//   async_copy_4(shared, global, bytes)    as async_copy_16, of 4 bytes: 0, 2 or 4 of them are copied
//   async_commit()                         what this thread started so far, and since the last commit, is one group
//   async_wait<n>()                        until all groups of this thread but the latest n are there; a barrier makes them visible to
//                                          others
//
// cp.async does it from sm_80 on and passes the registers by; before that, and on the host, the copy is done at once.
#pragma once

#include "mamba/shared_address.cuh"

namespace mamba {

__device__ __forceinline__ void async_copy_16(void* shared, const void* global, int bytes)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
#else
    uint4 value = make_uint4(0, 0, 0, 0);
    if (bytes >= 16) {
        value = *static_cast<const uint4*>(global);
    } else {
        unsigned int words[4] = {0, 0, 0, 0};
        for (int i = 0; i < bytes; ++i) {
            words[i / 4] |= static_cast<unsigned int>(static_cast<const unsigned char*>(global)[i]) << (i % 4 * 8);
        }
        value = make_uint4(words[0], words[1], words[2], words[3]);
    }
    *static_cast<uint4*>(shared) = value;
#endif
}

template <int kBytes>
__device__ __forceinline__ void async_copy(void* shared, const void* global, bool there)
{
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "what cp.async takes");
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if constexpr (kBytes == 16) {
        async_copy_16(shared, global, there ? 16 : 0);
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global), "n"(kBytes),
                     "r"(there ? kBytes : 0)
                     : "memory");
    }
#elif defined(__CUDA_ARCH__)
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) {
        static_cast<unsigned int*>(shared)[i] = there ? static_cast<const unsigned int*>(global)[i] : 0u;
    }
#else
    unsigned int words[kBytes / 4] = {};
    if (there) {
        __builtin_memcpy(words, global, kBytes);
    }
    __builtin_memcpy(shared, words, kBytes);
#endif
}

__device__ __forceinline__ void async_copy_4(void* shared, const void* global, int bytes)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
#elif defined(__CUDA_ARCH__)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        static_cast<unsigned short*>(shared)[i] = 2 * i < bytes ? static_cast<const unsigned short*>(global)[i] : static_cast<unsigned short>(0);
    }
#else
    unsigned int word = 0;
    __builtin_memcpy(&word, global, static_cast<unsigned long>(bytes));
    __builtin_memcpy(shared, &word, 4);
#endif
}

__device__ __forceinline__ void async_commit()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int kPending>
__device__ __forceinline__ void async_wait()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

}  // namespace mamba
