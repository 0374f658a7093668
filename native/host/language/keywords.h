// keywords.h: CUDA's function and variable qualifiers.
//
// `extern __shared__ T name[];` is the one form that a macro cannot express; the shim's libnvrtc rewrites it (nvrtc/source_text.cpp).
#pragma once

#define __host__
#define __device__
#define __global__ __attribute__((noinline))
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __maxnreg__(count)
#define __grid_constant__
#define __builtin_align__(bytes) __align__(bytes)

// One instance for each block that runs: a block stays on one thread of the operating system, and that thread runs one block at a time.
#define __shared__ thread_local
