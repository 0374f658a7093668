// atomics.h: read-modify-write operations. Real ones: blocks run on several threads of the operating system.
#pragma once

#include "threads.h"

namespace mamba_host {

// Replaces *address by change(*address) and returns what was there.
template <typename T, typename Change>
inline T update(T* address, Change change)
{
    note_attempt();
    T old;
    __atomic_load(address, &old, __ATOMIC_SEQ_CST);
    for (;;) {
        T next = change(old);
        if (__atomic_compare_exchange(address, &old, &next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            return old;
        }
    }
}

}  // namespace mamba_host

#define MAMBA_HOST_ATOMIC(name, T, expression)                                                                                    \
    inline T name(T* address, T value)                                                                                            \
    {                                                                                                                             \
        return mamba_host::update(address, [value]([[maybe_unused]] T old) -> T { return expression; });                          \
    }

#define MAMBA_HOST_INTEGER_ATOMICS(T)                                                                                             \
    MAMBA_HOST_ATOMIC(atomicAdd, T, old + value)                                                                                  \
    MAMBA_HOST_ATOMIC(atomicSub, T, old - value)                                                                                  \
    MAMBA_HOST_ATOMIC(atomicExch, T, value)                                                                                       \
    MAMBA_HOST_ATOMIC(atomicMax, T, old > value ? old : value)                                                                    \
    MAMBA_HOST_ATOMIC(atomicMin, T, old < value ? old : value)                                                                    \
    MAMBA_HOST_ATOMIC(atomicAnd, T, old & value)                                                                                  \
    MAMBA_HOST_ATOMIC(atomicOr, T, old | value)                                                                                   \
    MAMBA_HOST_ATOMIC(atomicXor, T, old ^ value)                                                                                  \
    inline T atomicCAS(T* address, T expected, T value)                                                                           \
    {                                                                                                                             \
        mamba_host::note_attempt();                                                                                               \
        __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                        \
        return expected;                                                                                                          \
    }

MAMBA_HOST_INTEGER_ATOMICS(int)
MAMBA_HOST_INTEGER_ATOMICS(unsigned int)
MAMBA_HOST_INTEGER_ATOMICS(unsigned long long)

MAMBA_HOST_ATOMIC(atomicInc, unsigned int, old >= value ? 0u : old + 1u)
MAMBA_HOST_ATOMIC(atomicDec, unsigned int, old == 0u || old > value ? value : old - 1u)
MAMBA_HOST_ATOMIC(atomicAdd, float, old + value)
MAMBA_HOST_ATOMIC(atomicExch, float, value)
MAMBA_HOST_ATOMIC(atomicAdd, double, old + value)

#undef MAMBA_HOST_INTEGER_ATOMICS
#undef MAMBA_HOST_ATOMIC
