// vectors.cuh: N stored elements as one memory access, and as N floats in registers.
//
//   Stored<T, N>    N elements of float, bf16 or fp16 as they lie in memory; N * sizeof(T) is 2, 4, 8, or a multiple of 16 bytes
//   load, store     of a Stored by accesses of up to 16 bytes; the address is a multiple of that
//   load_elements,  the same element by element, from any address; those from `count` on are not touched, and are zero in registers
//   store_elements
//   prefetch        the line at an address on its way to the second-level cache
//   widen, narrow   between Stored and float[N]; exact one way, to nearest even the other
//
// A kernel that has loads in flight keeps them as Stored: half the registers of floats in 16-bit types. Whether rows can be accessed as
// vectors is known on the host, so kernels take it as a template parameter, kAligned, and the functions ending in _row choose by it.
#pragma once

#include "mamba/types.cuh"

namespace mamba {

// What the caller knows of the data beside its address.
enum class Access {
    plain,
    // Read by no other thread, and written by none while the kernel runs: goes past the first-level cache.
    read_once,
};

template <int kBytes>
struct alignas(kBytes) Piece {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "a thread accesses 2, 4, 8 or 16 bytes at once");
    unsigned int words[kBytes / 4];
};

template <>
struct alignas(2) Piece<2> {
    unsigned short words[1];
};

template <typename T, int N>
struct Stored {
    static constexpr int kBytes = N * static_cast<int>(sizeof(T));
    static constexpr int kPieceBytes = kBytes < 16 ? kBytes : 16;
    static constexpr int kPieces = kBytes / kPieceBytes;
    static_assert(kPieces * kPieceBytes == kBytes, "not a whole number of accesses");

    Piece<kPieceBytes> pieces[kPieces];
};

template <Access kAccess, int kBytes>
__device__ __forceinline__ void load_piece(const void* from, Piece<kBytes>& to)
{
#if defined(__CUDA_ARCH__)
    if constexpr (kAccess == Access::read_once && kBytes == 16) {
        asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
            : "=r"(to.words[0]), "=r"(to.words[1]), "=r"(to.words[2]), "=r"(to.words[3])
            : "l"(from));
    } else if constexpr (kAccess == Access::read_once && kBytes == 8) {
        asm("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(to.words[0]), "=r"(to.words[1]) : "l"(from));
    } else if constexpr (kAccess == Access::read_once && kBytes == 4) {
        asm("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(to.words[0]) : "l"(from));
    } else {
        to = *static_cast<const Piece<kBytes>*>(from);
    }
#else
    // A copy, since the memory was written as other types; a sanitizer still checks the alignment.
    __builtin_memcpy(&to, __builtin_assume_aligned(from, kBytes), kBytes);
#endif
}

template <int kBytes>
__device__ __forceinline__ void store_piece(void* to, const Piece<kBytes>& from)
{
#if defined(__CUDA_ARCH__)
    *static_cast<Piece<kBytes>*>(to) = from;
#else
    __builtin_memcpy(__builtin_assume_aligned(to, kBytes), &from, kBytes);
#endif
}

template <Access kAccess = Access::plain, typename T, int N>
__device__ __forceinline__ void load(const T* from, Stored<T, N>& to)
{
#pragma unroll
    for (int i = 0; i < Stored<T, N>::kPieces; ++i) {
        load_piece<kAccess>(reinterpret_cast<const char*>(from) + i * Stored<T, N>::kPieceBytes, to.pieces[i]);
    }
}

__device__ __forceinline__ void prefetch([[maybe_unused]] const void* from)
{
#if defined(__CUDA_ARCH__)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
#endif
}

template <typename T, int N>
__device__ __forceinline__ void store(T* to, const Stored<T, N>& from)
{
#pragma unroll
    for (int i = 0; i < Stored<T, N>::kPieces; ++i) {
        store_piece(reinterpret_cast<char*>(to) + i * Stored<T, N>::kPieceBytes, from.pieces[i]);
    }
}

// The word at a compile-time index, for code that takes a Stored apart.
template <typename T, int N>
__device__ __forceinline__ unsigned int word(const Stored<T, N>& stored, int index)
{
    constexpr int kWords = Stored<T, N>::kPieceBytes < 4 ? 1 : Stored<T, N>::kPieceBytes / 4;
    return stored.pieces[index / kWords].words[index % kWords];
}

template <int N>
__device__ __forceinline__ void widen(const Stored<float, N>& from, float (&to)[N])
{
#pragma unroll
    for (int i = 0; i < N; ++i) {
        to[i] = __uint_as_float(word(from, i));
    }
}

template <typename T, int N>
__device__ __forceinline__ void widen(const Stored<T, N>& from, float (&to)[N])
{
#pragma unroll
    for (int i = 0; i < N; ++i) {
        unsigned int pair = word(from, i / 2);
        to[i] = to_float(T{static_cast<unsigned short>(i % 2 == 0 ? pair & 0xffffu : pair >> 16)});
    }
}

// Two elements in a word, the first in the lower half: one instruction from sm_80 on.
template <typename T>
__device__ __forceinline__ unsigned int narrow_pair(float first, float second)
{
    return static_cast<unsigned int>(from_float<T>(first).bits) | (static_cast<unsigned int>(from_float<T>(second).bits) << 16);
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <>
__device__ __forceinline__ unsigned int narrow_pair<bf16>(float first, float second)
{
    unsigned int result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(second), "f"(first));
    return result;
}

template <>
__device__ __forceinline__ unsigned int narrow_pair<fp16>(float first, float second)
{
    unsigned int result;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(second), "f"(first));
    return result;
}
#endif

template <int N>
__device__ __forceinline__ void narrow(const float (&from)[N], Stored<float, N>& to)
{
    constexpr int kWords = Stored<float, N>::kPieceBytes / 4;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        to.pieces[i / kWords].words[i % kWords] = __float_as_uint(from[i]);
    }
}

template <typename T, int N>
__device__ __forceinline__ void narrow(const float (&from)[N], Stored<T, N>& to)
{
    if constexpr (N == 1) {
        to.pieces[0].words[0] = from_float<T>(from[0]).bits;
    } else {
        constexpr int kWords = Stored<T, N>::kPieceBytes / 4;
#pragma unroll
        for (int i = 0; i < N / 2; ++i) {
            to.pieces[i / kWords].words[i % kWords] = narrow_pair<T>(from[2 * i], from[2 * i + 1]);
        }
    }
}

template <Access kAccess = Access::plain, typename T, int N>
__device__ __forceinline__ void load(const T* from, float (&to)[N])
{
    Stored<T, N> stored;
    load<kAccess>(from, stored);
    widen(stored, to);
}

template <typename T, int N>
__device__ __forceinline__ void store(T* to, const float (&from)[N])
{
    Stored<T, N> stored;
    narrow(from, stored);
    store(to, stored);
}

template <typename T, int N>
__device__ __forceinline__ void load_elements(const T* from, int count, float (&to)[N])
{
#pragma unroll
    for (int i = 0; i < N; ++i) {
        to[i] = i < count ? to_float(from[i]) : 0.0f;
    }
}

template <typename T, int N>
__device__ __forceinline__ void store_elements(T* to, int count, const float (&from)[N])
{
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < count) {
            to[i] = from_float<T>(from[i]);
        }
    }
}

// Where rows are aligned, all N elements; else the first `count` of them, one by one.
template <bool kAligned, Access kAccess = Access::plain, typename T, int N>
__device__ __forceinline__ void load_row(const T* from, int count, float (&to)[N])
{
    if constexpr (kAligned) {
        load<kAccess>(from, to);
    } else {
        load_elements(from, count, to);
    }
}

// The same for loads that stay in flight. The first `count` elements, where rows are aligned all or none; the others are zero.
template <bool kAligned, typename T, int N>
__device__ __forceinline__ void load_row(const T* from, int count, Stored<T, N>& to)
{
    if constexpr (kAligned) {
        if (count > 0) {
            load(from, to);
        } else {
            to = {};
        }
    } else {
        float elements[N];
        load_elements(from, count, elements);
        narrow(elements, to);
    }
}

template <bool kAligned, typename T, int N>
__device__ __forceinline__ void store_row(T* to, int count, const float (&from)[N])
{
    if constexpr (kAligned) {
        store(to, from);
    } else {
        store_elements(to, count, from);
    }
}

}  // namespace mamba
