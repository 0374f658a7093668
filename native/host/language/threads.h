// threads.h: where a thread stands in its block and grid, and its way to the library that runs it.
#pragma once

#include "machine.h"

extern "C" {
// Set when the module is loaded.
inline const mamba_host::Runtime* mamba_host_runtime = nullptr;
}

#define threadIdx (::mamba_host::this_thread().thread_index)
#define blockIdx (::mamba_host::this_thread().block_index)
#define blockDim (::mamba_host::this_thread().block_dimensions)
#define gridDim (::mamba_host::this_thread().grid_dimensions)
#define warpSize 32

namespace mamba_host {

inline unsigned int lane() { return this_thread().rank % kWarpLanes; }

template <typename T>
inline T* dynamic_shared()
{
    return static_cast<T*>(this_thread().dynamic_shared);
}

// What follows the first argument of __launch_bounds__ is a wish of speed.
template <typename... Wishes>
inline void test_launch_bounds(unsigned int most_threads, Wishes...)
{
    const ThreadState& thread = this_thread();
    unsigned int threads = thread.block_dimensions.x * thread.block_dimensions.y * thread.block_dimensions.z;
    if (thread.rank == 0 && threads > most_threads) {
        mamba_host_runtime->fail(701, "the block is larger than the kernel's __launch_bounds__");
    }
}

// Called where a thread may be spinning: on a machine of fibers, what it waits for never happens unless it steps aside.
inline void note_attempt()
{
    if (++this_thread().attempts >= 32) {
        mamba_host_runtime->let_others_run();
    }
}

}  // namespace mamba_host

inline void __nanosleep(unsigned int) { mamba_host_runtime->let_others_run(); }

inline long long clock64() { return static_cast<long long>((mamba_host::note_attempt(), mamba_host_runtime->clock())); }

inline int clock() { return static_cast<int>(clock64()); }

inline unsigned long long __globaltimer() { return static_cast<unsigned long long>(clock64()); }

[[noreturn]] inline void __trap()
{
    mamba_host_runtime->fail(719, "__trap()");
    __builtin_unreachable();
}

using size_t = decltype(sizeof(0));

extern "C" void* memcpy(void* destination, const void* source, size_t bytes) noexcept;
extern "C" void* memset(void* destination, int value, size_t bytes) noexcept;

#define __builtin_assume(condition) (static_cast<void>(0))

extern "C" int printf(const char* format, ...) __attribute__((format(printf, 1, 2)));

#define MAMBA_HOST_TEXT_OF(line) #line
#define MAMBA_HOST_TEXT(line) MAMBA_HOST_TEXT_OF(line)
#undef assert
#if defined(NDEBUG)
#define assert(condition) (static_cast<void>(0))
#else
#define assert(condition)                                                                                                         \
    ((condition) ? static_cast<void>(0)                                                                                           \
                 : mamba_host_runtime->fail(710, __FILE__ "(" MAMBA_HOST_TEXT(__LINE__) "): assertion `" #condition "` failed"))
#endif
