// barriers.h: barriers of a block, and fences.
#pragma once

#include "threads.h"

inline void __syncthreads() { mamba_host_runtime->barrier(mamba_host::BarrierKind::wait, 0, 0, 0); }

inline int __syncthreads_count(int predicate)
{
    return mamba_host_runtime->barrier(mamba_host::BarrierKind::count_true, 0, 0, predicate);
}

inline int __syncthreads_and(int predicate) { return mamba_host_runtime->barrier(mamba_host::BarrierKind::all_true, 0, 0, predicate); }

inline int __syncthreads_or(int predicate) { return mamba_host_runtime->barrier(mamba_host::BarrierKind::any_true, 0, 0, predicate); }

// What bar.sync and bar.arrive do on the device: device code has an #if defined(__CUDA_ARCH__) with the PTX and calls these otherwise.
inline void __mamba_barrier_sync(int id, int threads)
{
    mamba_host_runtime->barrier(mamba_host::BarrierKind::wait, static_cast<unsigned int>(id), static_cast<unsigned int>(threads), 0);
}

inline void __mamba_barrier_arrive(int id, int threads)
{
    mamba_host_runtime->barrier(mamba_host::BarrierKind::arrive, static_cast<unsigned int>(id), static_cast<unsigned int>(threads), 0);
}

// Steps aside so that others get on: for a loop that waits for a plain load to change, which the shim cannot see.
inline void __mamba_let_others_run() { mamba_host_runtime->let_others_run(); }

inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

inline void __threadfence()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    mamba_host::note_attempt();
}

inline void __threadfence_system() { __threadfence(); }
