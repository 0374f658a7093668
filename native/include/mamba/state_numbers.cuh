// state_numbers.cuh: what a recurrent state is made of, so that a scan is written once for real and for complex A.
//
//   number    a state, its A, B and C are           in memory
//   float     real                                  one after the other
//   Complex   complex (the paper's audio variant)   two numbers, real and imaginary part: side by side in a token's row of B or C, and in rows
//                                                   one after the other where rows are states; A comes as two matrices
//
// With complex A one of each pair of conjugate states is kept, and y is 2 Re(sum of C h), as in the official code.
#pragma once

#include "mamba/fast_math.cuh"
#include "mamba/types.cuh"

namespace mamba {

struct Complex {
    float re;
    float im;
};

// How many floats make a number.
template <typename Number>
constexpr int kParts = sizeof(Number) / sizeof(float);

// The number of a state in a token's row of B or C, from which on the group's states lie.
template <typename Number, typename T>
__device__ __forceinline__ Number number_in_row(const T* row, int state)
{
    if constexpr (kParts<Number> == 1) {
        return to_float(row[state]);
    } else {
        return {to_float(row[2 * state]), to_float(row[2 * state + 1])};
    }
}

// The number of a state in a column of a matrix whose rows are states.
template <typename Number>
__device__ __forceinline__ Number number_in_column(const float* column, long long state, long long stride)
{
    if constexpr (kParts<Number> == 1) {
        return column[state * stride];
    } else {
        return {column[2 * state * stride], column[(2 * state + 1) * stride]};
    }
}

__device__ __forceinline__ void store_in_column(float* column, long long state, long long stride, float number)
{
    column[state * stride] = number;
}

__device__ __forceinline__ void store_in_column(float* column, long long state, long long stride, Complex number)
{
    column[2 * state * stride] = number.re;
    column[(2 * state + 1) * stride] = number.im;
}

// A of a channel's state as decay_for takes it: log2(e) folded into the real part.
template <typename Number, typename Params>
__device__ __forceinline__ Number rate(const Params& p, int state, int channel)
{
    float real = p.a[state * p.a_stride + channel] * kLog2E;
    if constexpr (kParts<Number> == 1) {
        return real;
    } else {
        return {real, p.a_imaginary[state * p.a_imaginary_stride + channel]};
    }
}

// exp(delta A). A phase may be many turns: sincosf takes off all of them, and is right to 2 ulp; so for every type of outputs.
template <typename T>
__device__ __forceinline__ float decay_for(float delta, float rate)
{
    return exp2_for<T>(delta * rate);
}

template <typename T>
__device__ __forceinline__ Complex decay_for(float delta, Complex rate)
{
    float size = exp2_for<T>(delta * rate.re);
    float sine;
    float cosine;
    sincosf(delta * rate.im, &sine, &cosine);
    return {size * cosine, size * sine};
}

// decay h + delta_u b
__device__ __forceinline__ float advance(float decay, float h, float delta_u, float b) { return fmaf(decay, h, delta_u * b); }

__device__ __forceinline__ Complex advance(Complex decay, Complex h, float delta_u, Complex b)
{
    float re = fmaf(decay.re, h.re, fmaf(-decay.im, h.im, delta_u * b.re));
    float im = fmaf(decay.re, h.im, fmaf(decay.im, h.re, delta_u * b.im));
    return {re, im};
}

// What a state adds to y.
__device__ __forceinline__ float add_output(float h, float c, float sum) { return fmaf(h, c, sum); }

__device__ __forceinline__ float add_output(Complex h, Complex c, float sum)
{
    return fmaf(2.0f * h.re, c.re, fmaf(-2.0f * h.im, c.im, sum));
}

}  // namespace mamba
