// types.cuh: the 16-bit storage types and their conversions to and from float.
//
//   bf16   1 sign, 8 exponent, 7 fraction bits: the upper half of a float
//   fp16   1 sign, 5 exponent, 10 fraction bits: IEEE 754 binary16
//
// Kernels load and store these and compute in float. To float is exact; from float rounds to nearest, ties to even, with subnormals,
// signed zeros and infinities kept and overflow to infinity. NaN stays NaN; which one, the device's own fp16 instruction decides.
// cuda_bf16.h and cuda_fp16.h would give the same, but are part of the CUDA toolkit, and NVRTC must do.
#pragma once

namespace mamba {

struct bf16 {
    unsigned short bits;
};

struct fp16 {
    unsigned short bits;
};

__device__ __forceinline__ float to_float(float value) { return value; }

__device__ __forceinline__ float to_float(bf16 value) { return __uint_as_float(static_cast<unsigned int>(value.bits) << 16); }

__device__ __forceinline__ float to_float(fp16 value)
{
#if defined(__CUDA_ARCH__)
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
#else
    unsigned int sign = (value.bits & 0x8000u) << 16;
    unsigned int exponent = (value.bits >> 10) & 0x1fu;
    unsigned int fraction = value.bits & 0x3ffu;
    if (exponent == 0) {
        // Subnormal, or zero: the fraction counts steps of 2^-24, which is exact in float.
        return __uint_as_float(sign | __float_as_uint(static_cast<float>(fraction) * 0x1p-24f));
    }
    if (exponent == 0x1f) {
        unsigned int quiet = fraction != 0 ? 0x400000u : 0u;
        return __uint_as_float(sign | 0x7f800000u | quiet | (fraction << 13));
    }
    return __uint_as_float(sign | ((exponent + (127 - 15)) << 23) | (fraction << 13));
#endif
}

// from_float<T>: the nearest T; the identity for float, so that a kernel is written once for all three.
template <typename T>
__device__ __forceinline__ T from_float(float value);

template <>
__device__ __forceinline__ float from_float<float>(float value)
{
    return value;
}

template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value)
{
    // In integers on every architecture: the instruction is there only from sm_80 on, and saves two operations.
    unsigned int bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        // The NaN's own fraction may lie wholly in the half that is cut off; the quiet bit keeps it from becoming infinity.
        return {static_cast<unsigned short>((bits >> 16) | 0x40u)};
    }
    // Half a step, less one where the kept half is even: the carry rounds to nearest, ties to even, and runs into the exponent as it should.
    return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <>
__device__ __forceinline__ fp16 from_float<fp16>(float value)
{
#if defined(__CUDA_ARCH__)
    fp16 result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
#else
    unsigned int bits = __float_as_uint(value);
    unsigned int sign = (bits >> 16) & 0x8000u;
    unsigned int magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return {static_cast<unsigned short>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu))};
    }
    if (magnitude >= 0x47800000u) {
        // 65536 and above; what rounds up to it gets there below, by the carry into the exponent.
        return {static_cast<unsigned short>(sign | 0x7c00u)};
    }
    if (magnitude < 0x38800000u) {
        // Below 2^-14: one half in float has steps of 2^-24, as fp16 has here, so that adding it rounds in the right place.
        unsigned int rounded = __float_as_uint(__uint_as_float(magnitude) + 0.5f) - __float_as_uint(0.5f);
        return {static_cast<unsigned short>(sign | rounded)};
    }
    unsigned int rebiased = magnitude - ((127u - 15u) << 23);
    return {static_cast<unsigned short>(sign | ((rebiased + 0xfffu + ((rebiased >> 13) & 1u)) >> 13))};
#endif
}

}  // namespace mamba
