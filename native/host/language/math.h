// math.h: CUDA's mathematical functions, from the C library.
//
// The fast intrinsics (__expf, ex2.approx and the like) are the exact functions here: a result can be closer to the oracle than the
// device's, never further away. What an approximation costs is for a test on the device to say.
#pragma once

extern "C" {
#define MAMBA_HOST_C_FUNCTION(name)   \
    float name##f(float) noexcept;    \
    double name(double) noexcept;
MAMBA_HOST_C_FUNCTION(exp)
MAMBA_HOST_C_FUNCTION(exp2)
MAMBA_HOST_C_FUNCTION(expm1)
MAMBA_HOST_C_FUNCTION(log)
MAMBA_HOST_C_FUNCTION(log2)
MAMBA_HOST_C_FUNCTION(log10)
MAMBA_HOST_C_FUNCTION(log1p)
MAMBA_HOST_C_FUNCTION(sin)
MAMBA_HOST_C_FUNCTION(cos)
MAMBA_HOST_C_FUNCTION(tan)
MAMBA_HOST_C_FUNCTION(tanh)
MAMBA_HOST_C_FUNCTION(sinh)
MAMBA_HOST_C_FUNCTION(cosh)
MAMBA_HOST_C_FUNCTION(atan)
MAMBA_HOST_C_FUNCTION(erf)
MAMBA_HOST_C_FUNCTION(erfc)
MAMBA_HOST_C_FUNCTION(sqrt)
MAMBA_HOST_C_FUNCTION(cbrt)
MAMBA_HOST_C_FUNCTION(floor)
MAMBA_HOST_C_FUNCTION(ceil)
MAMBA_HOST_C_FUNCTION(trunc)
MAMBA_HOST_C_FUNCTION(round)
MAMBA_HOST_C_FUNCTION(rint)
MAMBA_HOST_C_FUNCTION(nearbyint)
MAMBA_HOST_C_FUNCTION(fabs)
#undef MAMBA_HOST_C_FUNCTION
#define MAMBA_HOST_C_FUNCTION(name)          \
    float name##f(float, float) noexcept;    \
    double name(double, double) noexcept;
MAMBA_HOST_C_FUNCTION(pow)
MAMBA_HOST_C_FUNCTION(fmod)
MAMBA_HOST_C_FUNCTION(fmax)
MAMBA_HOST_C_FUNCTION(fmin)
MAMBA_HOST_C_FUNCTION(copysign)
MAMBA_HOST_C_FUNCTION(atan2)
MAMBA_HOST_C_FUNCTION(hypot)
#undef MAMBA_HOST_C_FUNCTION
float exp10f(float) noexcept;
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
float ldexpf(float, int) noexcept;
double ldexp(double, int) noexcept;
float frexpf(float, int*) noexcept;
void sincosf(float, float*, float*) noexcept;
void sincos(double, double*, double*) noexcept;
long lrintf(float) noexcept;
long long llrintf(float) noexcept;
long lroundf(float) noexcept;
int abs(int) noexcept;
long labs(long) noexcept;
long long llabs(long long) noexcept;
}

inline float rsqrtf(float value) { return 1.0f / __builtin_sqrtf(value); }

inline double rsqrt(double value) { return 1.0 / __builtin_sqrt(value); }

inline float normcdff(float value) { return 0.5f * __builtin_erfcf(-value * 0.70710678118654752f); }

// NaN becomes 0, as on the device.
inline float __saturatef(float value) { return value >= 0.0f ? (value <= 1.0f ? value : 1.0f) : 0.0f; }

// With C linkage, because the C library declares functions of the same names for itself.
extern "C" {
#define MAMBA_HOST_SAME_AS(name, function) \
    inline float name(float value) noexcept { return function(value); }
MAMBA_HOST_SAME_AS(__expf, __builtin_expf)
MAMBA_HOST_SAME_AS(__exp10f, exp10f)
MAMBA_HOST_SAME_AS(__logf, __builtin_logf)
MAMBA_HOST_SAME_AS(__log2f, __builtin_log2f)
MAMBA_HOST_SAME_AS(__log10f, __builtin_log10f)
MAMBA_HOST_SAME_AS(__sinf, __builtin_sinf)
MAMBA_HOST_SAME_AS(__cosf, __builtin_cosf)
MAMBA_HOST_SAME_AS(__tanf, __builtin_tanf)
MAMBA_HOST_SAME_AS(__fsqrt_rn, __builtin_sqrtf)
MAMBA_HOST_SAME_AS(__frsqrt_rn, rsqrtf)
#undef MAMBA_HOST_SAME_AS

inline void __sincosf(float value, float* sine, float* cosine) noexcept { sincosf(value, sine, cosine); }

inline float __powf(float base, float exponent) noexcept { return __builtin_powf(base, exponent); }
}

inline float __frcp_rn(float value) { return 1.0f / value; }

inline float __fdividef(float a, float b) { return a / b; }

inline float fdividef(float a, float b) { return a / b; }

// The rounded operations exist to keep the compiler from contracting a product and a sum; what passes through memory is not contracted.
#define MAMBA_HOST_ROUNDED(name, T, operation)  \
    inline T name(T a, T b)                     \
    {                                           \
        T result = a operation b;               \
        asm volatile("" : "+m"(result));        \
        return result;                          \
    }
MAMBA_HOST_ROUNDED(__fadd_rn, float, +)
MAMBA_HOST_ROUNDED(__fsub_rn, float, -)
MAMBA_HOST_ROUNDED(__fmul_rn, float, *)
MAMBA_HOST_ROUNDED(__fdiv_rn, float, /)
MAMBA_HOST_ROUNDED(__dadd_rn, double, +)
MAMBA_HOST_ROUNDED(__dsub_rn, double, -)
MAMBA_HOST_ROUNDED(__dmul_rn, double, *)
#undef MAMBA_HOST_ROUNDED

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }

namespace mamba_host {

// Conversions to integers saturate on the device, and NaN becomes 0.
template <typename Integer>
inline Integer saturated(float value, Integer lowest, Integer highest)
{
    if (!(value == value)) {
        return 0;
    }
    if (value <= static_cast<float>(lowest)) {
        return lowest;
    }
    return value >= static_cast<float>(highest) ? highest : static_cast<Integer>(value);
}

inline int to_int(float value) { return saturated(value, -0x7fffffff - 1, 0x7fffffff); }

inline unsigned int to_uint(float value) { return saturated(value, 0u, 0xffffffffu); }

}  // namespace mamba_host

inline int __float2int_rn(float value) { return mamba_host::to_int(__builtin_rintf(value)); }

inline int __float2int_rz(float value) { return mamba_host::to_int(__builtin_truncf(value)); }

inline int __float2int_rd(float value) { return mamba_host::to_int(__builtin_floorf(value)); }

inline int __float2int_ru(float value) { return mamba_host::to_int(__builtin_ceilf(value)); }

inline unsigned int __float2uint_rn(float value) { return mamba_host::to_uint(__builtin_rintf(value)); }

inline unsigned int __float2uint_rz(float value) { return mamba_host::to_uint(__builtin_truncf(value)); }

inline float __int2float_rn(int value) { return static_cast<float>(value); }

inline float __uint2float_rn(unsigned int value) { return static_cast<float>(value); }

#undef isnan
#undef isinf
#undef isfinite
#undef signbit

// Templates: <cmath>, where a host program includes it, has its own beside them.
template <typename T>
inline bool isnan(T value)
{
    return __builtin_isnan(value);
}

template <typename T>
inline bool isinf(T value)
{
    return __builtin_isinf(value) != 0;
}

template <typename T>
inline bool isfinite(T value)
{
    return __builtin_isfinite(value);
}

// Of two types of integers C++'s usual conversions decide, as in CUDA's overloads; for floats NaN loses.
#define MAMBA_HOST_MIN_MAX(T)                                       \
    inline constexpr T min(T a, T b) { return b < a ? b : a; }      \
    inline constexpr T max(T a, T b) { return a < b ? b : a; }
MAMBA_HOST_MIN_MAX(int)
MAMBA_HOST_MIN_MAX(unsigned int)
MAMBA_HOST_MIN_MAX(long)
MAMBA_HOST_MIN_MAX(unsigned long)
MAMBA_HOST_MIN_MAX(long long)
MAMBA_HOST_MIN_MAX(unsigned long long)
#undef MAMBA_HOST_MIN_MAX

#define MAMBA_HOST_MIXED(A, B, Result)                                                                    \
    inline constexpr Result min(A a, B b) { return min(static_cast<Result>(a), static_cast<Result>(b)); } \
    inline constexpr Result max(A a, B b) { return max(static_cast<Result>(a), static_cast<Result>(b)); }
MAMBA_HOST_MIXED(int, unsigned int, unsigned int)
MAMBA_HOST_MIXED(unsigned int, int, unsigned int)
MAMBA_HOST_MIXED(long long, unsigned long long, unsigned long long)
MAMBA_HOST_MIXED(unsigned long long, long long, unsigned long long)
#undef MAMBA_HOST_MIXED

inline float min(float a, float b) { return __builtin_fminf(a, b); }

inline float max(float a, float b) { return __builtin_fmaxf(a, b); }

inline double min(double a, double b) { return __builtin_fmin(a, b); }

inline double max(double a, double b) { return __builtin_fmax(a, b); }
