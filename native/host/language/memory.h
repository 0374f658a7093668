// memory.h: loads and stores with cache hints, which are plain ones here, and address spaces.
#pragma once

#include "threads.h"

#define MAMBA_HOST_LOAD(name)                                                                                                     \
    template <typename T>                                                                                                         \
    inline T name(const T* address)                                                                                               \
    {                                                                                                                             \
        return *address;                                                                                                          \
    }
#define MAMBA_HOST_STORE(name)                                                                                                    \
    template <typename T>                                                                                                         \
    inline void name(T* address, T value)                                                                                         \
    {                                                                                                                             \
        *address = value;                                                                                                         \
    }

MAMBA_HOST_LOAD(__ldg)
MAMBA_HOST_LOAD(__ldca)
MAMBA_HOST_LOAD(__ldcs)
MAMBA_HOST_LOAD(__ldlu)
MAMBA_HOST_STORE(__stwb)
MAMBA_HOST_STORE(__stcg)
MAMBA_HOST_STORE(__stcs)
MAMBA_HOST_STORE(__stwt)

#undef MAMBA_HOST_LOAD
#undef MAMBA_HOST_STORE

// Loads that see what other blocks wrote: what a spinning thread reads with.
template <typename T>
inline T __ldcg(const T* address)
{
    mamba_host::note_attempt();
    asm volatile("" ::: "memory");
    return *address;
}

template <typename T>
inline T __ldcv(const T* address)
{
    return __ldcg(address);
}

inline unsigned long __cvta_generic_to_shared(const void* address) { return reinterpret_cast<unsigned long>(address); }

inline unsigned long __cvta_generic_to_global(const void* address) { return reinterpret_cast<unsigned long>(address); }
