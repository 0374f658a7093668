// warp.h: operations between the lanes of a warp.
//
// Each lane named by the mask hands in its value and waits for the others. A value that comes from a lane which does not take part is
// undefined on the device; here it is the poison of uninitialised shared memory.
#pragma once

#include "threads.h"

namespace mamba_host {

template <typename T>
inline unsigned long long to_bits(T value)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "Lanes exchange values of 4 or 8 bytes.");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <typename T>
inline T from_bits(unsigned long long bits)
{
    T value;
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}

template <typename T>
inline T shuffle(WarpOperation operation, unsigned int mask, T value, int argument, int width)
{
    return from_bits<T>(mamba_host_runtime->exchange(operation, mask, to_bits(value), argument, width));
}

inline unsigned int reduce(WarpOperation operation, unsigned int mask, unsigned int value)
{
    return static_cast<unsigned int>(mamba_host_runtime->exchange(operation, mask, value, 0, 32));
}

}  // namespace mamba_host

template <typename T>
inline T __shfl_sync(unsigned int mask, T value, int source, int width = 32)
{
    return mamba_host::shuffle(mamba_host::WarpOperation::shuffle, mask, value, source, width);
}

template <typename T>
inline T __shfl_up_sync(unsigned int mask, T value, unsigned int delta, int width = 32)
{
    return mamba_host::shuffle(mamba_host::WarpOperation::shuffle_up, mask, value, static_cast<int>(delta), width);
}

template <typename T>
inline T __shfl_down_sync(unsigned int mask, T value, unsigned int delta, int width = 32)
{
    return mamba_host::shuffle(mamba_host::WarpOperation::shuffle_down, mask, value, static_cast<int>(delta), width);
}

template <typename T>
inline T __shfl_xor_sync(unsigned int mask, T value, int lanes, int width = 32)
{
    return mamba_host::shuffle(mamba_host::WarpOperation::shuffle_xor, mask, value, lanes, width);
}

inline void __syncwarp(unsigned int mask = 0xffffffffu) { mamba_host::reduce(mamba_host::WarpOperation::synchronize, mask, 0); }

inline unsigned int __ballot_sync(unsigned int mask, int predicate)
{
    return mamba_host::reduce(mamba_host::WarpOperation::ballot, mask, predicate != 0);
}

inline int __any_sync(unsigned int mask, int predicate)
{
    return static_cast<int>(mamba_host::reduce(mamba_host::WarpOperation::bitwise_or, mask, predicate != 0));
}

inline int __all_sync(unsigned int mask, int predicate)
{
    return static_cast<int>(mamba_host::reduce(mamba_host::WarpOperation::bitwise_and, mask, predicate != 0));
}

inline unsigned int __activemask() { return mamba_host_runtime->active_mask(); }

template <typename T>
inline unsigned int __match_any_sync(unsigned int mask, T value)
{
    return static_cast<unsigned int>(
        mamba_host_runtime->exchange(mamba_host::WarpOperation::match_any, mask, mamba_host::to_bits(value), 0, 32));
}

template <typename T>
inline unsigned int __match_all_sync(unsigned int mask, T value, int* predicate)
{
    unsigned int matching = static_cast<unsigned int>(
        mamba_host_runtime->exchange(mamba_host::WarpOperation::match_all, mask, mamba_host::to_bits(value), 0, 32));
    *predicate = matching != 0;
    return matching;
}

inline unsigned int __reduce_add_sync(unsigned int mask, unsigned int value)
{
    return mamba_host::reduce(mamba_host::WarpOperation::add, mask, value);
}

inline int __reduce_add_sync(unsigned int mask, int value)
{
    return static_cast<int>(mamba_host::reduce(mamba_host::WarpOperation::add, mask, static_cast<unsigned int>(value)));
}

inline unsigned int __reduce_min_sync(unsigned int mask, unsigned int value)
{
    return mamba_host::reduce(mamba_host::WarpOperation::minimum_unsigned, mask, value);
}

inline int __reduce_min_sync(unsigned int mask, int value)
{
    return static_cast<int>(mamba_host::reduce(mamba_host::WarpOperation::minimum_signed, mask, static_cast<unsigned int>(value)));
}

inline unsigned int __reduce_max_sync(unsigned int mask, unsigned int value)
{
    return mamba_host::reduce(mamba_host::WarpOperation::maximum_unsigned, mask, value);
}

inline int __reduce_max_sync(unsigned int mask, int value)
{
    return static_cast<int>(mamba_host::reduce(mamba_host::WarpOperation::maximum_signed, mask, static_cast<unsigned int>(value)));
}

inline unsigned int __reduce_and_sync(unsigned int mask, unsigned int value)
{
    return mamba_host::reduce(mamba_host::WarpOperation::bitwise_and, mask, value);
}

inline unsigned int __reduce_or_sync(unsigned int mask, unsigned int value)
{
    return mamba_host::reduce(mamba_host::WarpOperation::bitwise_or, mask, value);
}

inline unsigned int __reduce_xor_sync(unsigned int mask, unsigned int value)
{
    return mamba_host::reduce(mamba_host::WarpOperation::bitwise_xor, mask, value);
}
