// bits.h: reinterpretation, conversion and integer intrinsics.
#pragma once

namespace mamba_host {

template <typename To, typename From>
inline To reinterpret(From value)
{
    static_assert(sizeof(To) == sizeof(From));
    To result;
    __builtin_memcpy(&result, &value, sizeof(To));
    return result;
}

}  // namespace mamba_host

inline unsigned int __float_as_uint(float value) { return mamba_host::reinterpret<unsigned int>(value); }

inline float __uint_as_float(unsigned int bits) { return mamba_host::reinterpret<float>(bits); }

inline int __float_as_int(float value) { return mamba_host::reinterpret<int>(value); }

inline float __int_as_float(int bits) { return mamba_host::reinterpret<float>(bits); }

inline long long __double_as_longlong(double value) { return mamba_host::reinterpret<long long>(value); }

inline double __longlong_as_double(long long bits) { return mamba_host::reinterpret<double>(bits); }

inline int __popc(unsigned int value) { return __builtin_popcount(value); }

inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }

inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned int>(value)); }

inline int __clzll(long long value) { return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value)); }

inline int __ffs(int value) { return __builtin_ffs(value); }

inline int __ffsll(long long value) { return __builtin_ffsll(value); }

inline unsigned int __brev(unsigned int value)
{
    value = ((value >> 1) & 0x55555555u) | ((value & 0x55555555u) << 1);
    value = ((value >> 2) & 0x33333333u) | ((value & 0x33333333u) << 2);
    value = ((value >> 4) & 0x0f0f0f0fu) | ((value & 0x0f0f0f0fu) << 4);
    return __builtin_bswap32(value);
}

// Byte i of the result is byte s of the eight in (high, low), where s is nibble i of the selector; its upper bit repeats the sign.
inline unsigned int __byte_perm(unsigned int low, unsigned int high, unsigned int selector)
{
    unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
    unsigned int result = 0;
    for (unsigned int i = 0; i < 4; ++i) {
        unsigned int nibble = (selector >> (4 * i)) & 0xfu;
        unsigned int byte = static_cast<unsigned int>(bytes >> (8 * (nibble & 7u))) & 0xffu;
        result |= ((nibble & 8u) != 0 ? ((byte & 0x80u) != 0 ? 0xffu : 0u) : byte) << (8 * i);
    }
    return result;
}

inline unsigned int __funnelshift_l(unsigned int low, unsigned int high, unsigned int shift)
{
    unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
    return static_cast<unsigned int>((both << (shift & 31u)) >> 32);
}

inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, unsigned int shift)
{
    unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
    return static_cast<unsigned int>(both >> (shift & 31u));
}

inline int __mulhi(int a, int b) { return static_cast<int>((static_cast<long long>(a) * b) >> 32); }

inline unsigned int __umulhi(unsigned int a, unsigned int b)
{
    return static_cast<unsigned int>((static_cast<unsigned long long>(a) * b) >> 32);
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

// The lower 24 bits of each, with their sign.
inline int __mul24(int a, int b)
{
    long long product = static_cast<long long>((a << 8) >> 8) * ((b << 8) >> 8);
    return static_cast<int>(product);
}

inline unsigned int __umul24(unsigned int a, unsigned int b) { return (a & 0xffffffu) * (b & 0xffffffu); }
