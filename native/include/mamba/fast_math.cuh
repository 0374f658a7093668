// fast_math.cuh: elementary functions by the special-function unit, with their errors.
//
// The unit gives a quarter of the multiply-adds' rate or less (16 results a cycle and multiprocessor against 64 or 128), so each function
// says how many of its operations it takes, under "special". Errors are against float64 and hold for every float unless said otherwise;
// one unit is 2^-24 of the result. NaN gives NaN everywhere. All 2^32 floats were tried on an H200; native/tests/fast_math_test.cpp holds the
// portable forms to the same figures.
//
//   function           special   error
//   exp2_approx           1      4 units (2 ulp); results below 2^-126 are 0, x below 2^-126 counts as 0
//   log2_approx           1      2^-21.9 absolute for x in [0.5, 2], else 2^-21.9 of the result; x below 2^-126 counts as 0
//   reciprocal_approx     1      2 units (1 ulp); results and x below 2^-126 are 0
//   tanh_approx           1      2^-10.9 of the result as documented, 2^-16.4 as measured on sm_90
//   exp2_precise          0      2 units; subnormal results are kept
//   exp2_polynomial       0      4 units for x in [-126, 127]; 0 below, 2^127 above
//   exp_16                1      4 + 2 |x| units, for outputs of 16 bits and for sums whose terms are the smaller the larger |x| is
//   sigmoid, silu         2      8 units down to x = -87, then 0
//   sigmoid_16, silu_16   2      as those, but 2 + |x| units more: less than 2^-16 of the result, for outputs of 16 bits
//   silu_slope            2      20 units of s + |x| s (1 - s), the size of its terms, down to x = -87, then 0
//   silu_slope_16         2      2^-16 of the size of its terms for x up to 4, 2^-14 above; for outputs of 16 bits
//   sigmoid_fast          1      2^-11.9 absolute as documented, 2^-17.9 as measured on sm_90
//   silu_fast             1      as sigmoid_fast, times |x|: for large negative x nothing of the result is right
//   silu_slope_fast       1      as sigmoid_fast, times 1 + |x|
//   softplus              1      6 units
//   softplus_16           1      2^-16 of the result for |x| up to 80, for outputs of 16 bits
//   largest_or_nan        0      none; NaN where either is
#pragma once

#include "mamba/types.cuh"

namespace mamba {

constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

__device__ __forceinline__ float exp2_approx(float x)
{
#if defined(__CUDA_ARCH__)
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    float result = exp2f(x);
    return result < 0x1p-126f ? 0.0f : result;
#endif
}

__device__ __forceinline__ float log2_approx(float x)
{
#if defined(__CUDA_ARCH__)
    float result;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    return log2f(fabsf(x) < 0x1p-126f ? 0.0f : x);
#endif
}

__device__ __forceinline__ float reciprocal_approx(float x)
{
#if defined(__CUDA_ARCH__)
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    float result = 1.0f / (fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x);
    return fabsf(result) < 0x1p-126f ? copysignf(0.0f, x) : result;
#endif
}

__device__ __forceinline__ float tanh_approx(float x)
{
#if defined(__CUDA_ARCH__)
    float result;
    asm("tanh.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    return tanhf(x);
#endif
}

// 2^x by the series of e^(f ln 2) to the seventh power (2^-27), for float32 results that are to be as good as a library's. The power is put
// on in two steps, so that subnormal results and infinity come out as they should.
__device__ __forceinline__ float exp2_precise(float x)
{
    // The comparisons keep NaN, which fmaxf and fminf would lose.
    float clamped = x < -160.0f ? -160.0f : x;
    clamped = clamped > 130.0f ? 130.0f : clamped;
    float whole = rintf(clamped);
    float fraction = clamped - whole;
    float p = fmaf(1.52527338e-5f, fraction, 1.54035304e-4f);
    p = fmaf(p, fraction, 1.33335581e-3f);
    p = fmaf(p, fraction, 9.61812911e-3f);
    p = fmaf(p, fraction, 0.0555041087f);
    p = fmaf(p, fraction, 0.240226507f);
    p = fmaf(p, fraction, 0.693147181f);
    p = fmaf(p, fraction, 1.0f);
    // A NaN has become p already; its power must only be a number.
    int power = x == x ? static_cast<int>(whole) : 0;
    int half = power / 2;
    p *= __uint_as_float(static_cast<unsigned int>(half + 127) << 23);
    return p * __uint_as_float(static_cast<unsigned int>(power - half + 127) << 23);
}

// 2^x on the multiply-add pipe, for kernels that keep the special-function unit busy: adding 1.5 * 2^23 leaves round(x) in the low bits of
// the sum; minimax polynomial of degree 5 for the rest; the power by adding to the exponent.
__device__ __forceinline__ float exp2_polynomial(float x)
{
    // The comparisons keep NaN, which fmaxf and fminf would lose.
    float clamped = x < -127.0f ? -127.0f : x;
    clamped = clamped > 127.0f ? 127.0f : clamped;
    float shifted = clamped + 12582912.0f;
    float fraction = clamped - (shifted - 12582912.0f);
    float p = fmaf(0.00132647343f, fraction, 0.00967151206f);
    p = fmaf(p, fraction, 0.0555073358f);
    p = fmaf(p, fraction, 0.240222424f);
    p = fmaf(p, fraction, 0.693147004f);
    p = fmaf(p, fraction, 1.0f);
    // 2^-127 has the bit pattern 0, so that what is below 2^-126.5 becomes 0 by itself.
    return p * __uint_as_float((__float_as_uint(shifted) << 23) + 0x3f800000u);
}

// e^x, except that the rounding of x log2(e) is not put right.
__device__ __forceinline__ float exp_16(float x) { return exp2_approx(kLog2E * x); }

// 1 / (1 + e^-x)
__device__ __forceinline__ float sigmoid(float x) { return reciprocal_approx(1.0f + expf(-x)); }

// x sigmoid(x); NaN at minus infinity, as the formula has it.
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }

// The same, except that the rounding of x log2(e) is not put right.
__device__ __forceinline__ float sigmoid_16(float x) { return reciprocal_approx(1.0f + exp2_approx(-kLog2E * x)); }

__device__ __forceinline__ float silu_16(float x) { return x * sigmoid_16(x); }

// The derivative of silu, s + x s (1 - s) with s = sigmoid(x); NaN at both infinities, as the formula has it.
__device__ __forceinline__ float silu_slope(float x)
{
    float e = expf(-x);
    float s = reciprocal_approx(1.0f + e);
    // Where s is near 1, its distance from 1 would be all rounding.
    float rest = x > 0.0f ? e * s : 1.0f - s;
    return fmaf(x * s, rest, s);
}

// The same of a sigmoid that is there, whose distance from 1 may be all rounding.
__device__ __forceinline__ float silu_slope_by(float x, float s) { return fmaf(x * s, 1.0f - s, s); }

__device__ __forceinline__ float silu_slope_16(float x) { return silu_slope_by(x, sigmoid_16(x)); }

// 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2
__device__ __forceinline__ float sigmoid_fast(float x) { return fmaf(0.5f, tanh_approx(0.5f * x), 0.5f); }

__device__ __forceinline__ float silu_fast(float x)
{
    float half = 0.5f * x;
    return fmaf(half, tanh_approx(half), half);
}

__device__ __forceinline__ float silu_slope_fast(float x) { return silu_slope_by(x, sigmoid_fast(x)); }

// log(1 + e^x) = max(x, 0) + log(1 + t) with t = e^-|x| in [0, 1]: a minimax polynomial of degree 9 instead of a logarithm, which would cost
// a special-function operation more and lose the small results. Above 20 the second term is below the rounding of the first, which is the
// guard of the official kernel.
__device__ __forceinline__ float softplus(float x)
{
    float t = expf(-fabsf(x));
    float p = fmaf(-0.00331837707f, t, 0.0202041380f);
    p = fmaf(p, t, -0.0576635636f);
    p = fmaf(p, t, 0.106804617f);
    p = fmaf(p, t, -0.153553382f);
    p = fmaf(p, t, 0.196953788f);
    p = fmaf(p, t, -0.249585822f);
    p = fmaf(p, t, 0.333305120f);
    p = fmaf(p, t, -0.499999315f);
    p = fmaf(p, t, 1.0f);
    return fmaf(p, t, fmaxf(x, 0.0f));
}

// log(1 + t) for t in [0, 1], by a polynomial of degree 5 (2^-16.8)
__device__ __forceinline__ float log_of_one_and(float t)
{
    float p = fmaf(-0.0238691512f, t, 0.101222284f);
    p = fmaf(p, t, -0.21004869f);
    p = fmaf(p, t, 0.325206667f);
    p = fmaf(p, t, -0.499361366f);
    p = fmaf(p, t, 0.999991596f);
    return p * t;
}

// softplus by it, and without the rounding of |x| log2(e) put right.
__device__ __forceinline__ float softplus_16(float x) { return log_of_one_and(exp2_approx(-kLog2E * fabsf(x))) + fmaxf(x, 0.0f); }

// The same, and the slope, which is sigmoid(x), by the same power.
__device__ __forceinline__ float softplus_16(float x, float& slope)
{
    float t = exp2_approx(-kLog2E * fabsf(x));
    float larger = reciprocal_approx(1.0f + t);
    slope = x < 0.0f ? t * larger : larger;
    return log_of_one_and(t) + fmaxf(x, 0.0f);
}

// 2^x as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float exp2_for(float x)
{
    return sizeof(T) == sizeof(float) ? exp2_precise(x) : exp2_approx(x);
}

// e^x as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float exp_for(float x)
{
    return sizeof(T) == sizeof(float) ? expf(x) : exp_16(x);
}

// softplus as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float softplus_for(float x)
{
    return sizeof(T) == sizeof(float) ? softplus(x) : softplus_16(x);
}

// softplus and its slope, which is sigmoid, as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float softplus_for(float x, float& slope)
{
    if constexpr (sizeof(T) == sizeof(float)) {
        slope = sigmoid(x);
        return softplus(x);
    } else {
        return softplus_16(x, slope);
    }
}

// sigmoid as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float sigmoid_for(float x)
{
    return sizeof(T) == sizeof(float) ? sigmoid(x) : sigmoid_16(x);
}

// silu as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float silu_for(float x)
{
    return sizeof(T) == sizeof(float) ? silu(x) : silu_16(x);
}

// Whether a gate in the midst of much other work may be made by one special-function operation instead of two: for bf16, whose last place
// is 2^-8 of the result, where tanh was measured. What it loses is below half of that for x above -6; below, the gate is nearly shut, and
// the loss is 2^-18 |x| of what is gated.
template <typename T>
struct GateByTanh {
    static constexpr bool value = false;
};

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
template <>
struct GateByTanh<bf16> {
    static constexpr bool value = true;
};
#endif

template <typename T>
__device__ __forceinline__ float silu_gate(float x)
{
    return GateByTanh<T>::value ? silu_fast(x) : silu_for<T>(x);
}

// The derivative of silu as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float silu_slope_for(float x)
{
    return sizeof(T) == sizeof(float) ? silu_slope(x) : silu_slope_16(x);
}

template <typename T>
__device__ __forceinline__ float silu_slope_gate(float x)
{
    return GateByTanh<T>::value ? silu_slope_fast(x) : silu_slope_for<T>(x);
}

__device__ __forceinline__ float largest_or_nan(float a, float b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    float result;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
#else
    return b != b || a <= b ? b : a;
#endif
}

}  // namespace mamba
