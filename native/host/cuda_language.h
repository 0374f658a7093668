// cuda_language.h: the words of CUDA C that the headers under include/ use, for g++.
//
// NVRTC and nvcc have them built in; a host program includes this file first, and the device code needs no host branch for its spelling.
#pragma once

#include <cmath>
#include <cstring>

#define __device__
#define __forceinline__ inline __attribute__((always_inline))

inline unsigned int __float_as_uint(float value)
{
    unsigned int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned int bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
