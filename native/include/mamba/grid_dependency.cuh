// grid_dependency.cuh: programmatic dependent launch, by which a kernel starts while the one before it in the stream still runs.
//
// Only where the launch asks for it, and from sm_90 on; elsewhere both functions do nothing. A kernel that is ever launched so waits, in
// every thread, before its first access to memory that another kernel writes or still reads: also where it needs nothing of the kernel just
// before it, since the one after it counts on all earlier ones having ended. Where a kernel lets the next start before it waits itself, as
// add_rms_norm_forward does, the next may count on no more than that before its own wait: what the kernel before both writes is not there either.
#pragma once

namespace mamba {

// Returns when all kernels before this one have ended and what they wrote can be read.
__device__ __forceinline__ void wait_for_earlier_grids()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// From here on, as far as this block is concerned, the next kernel may be started; it is when every block has said so or ended.
__device__ __forceinline__ void let_next_grid_start()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace mamba
