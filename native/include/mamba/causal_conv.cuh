// causal_conv.cuh: what the convolution over a sequence, its one-token update and its gradients share, so that all give the same bits.
#pragma once

#include "mamba/fast_math.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

// The kernel's weights and the last kWidth - 1 inputs of kVec neighbouring channels, in registers.
template <typename T, int kWidth, int kVec>
struct ConvolutionWindow {
    static constexpr int kHistory = kWidth - 1;

    float weights[kWidth][kVec];
    float bias[kVec];
    float history[kHistory][kVec];  // oldest first

    __device__ __forceinline__ void load_parameters(const float* weight, long long stride, const float* bias_or_null)
    {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
            load(weight + k * stride, weights[k]);
        }
        if (bias_or_null != nullptr) {
            load(bias_or_null, bias);
        } else {
#pragma unroll
            for (int i = 0; i < kVec; ++i) {
                bias[i] = 0.0f;
            }
        }
    }

    // The inputs before a sequence; zeros where there is no state.
    __device__ __forceinline__ void load_state(const float* state_or_null, long long stride)
    {
#pragma unroll
        for (int k = 0; k < kHistory; ++k) {
            if (state_or_null != nullptr) {
                load(state_or_null + k * stride, history[k]);
            } else {
#pragma unroll
                for (int i = 0; i < kVec; ++i) {
                    history[k][i] = 0.0f;
                }
            }
        }
    }

    // What stands before SiLU at the next input.
    __device__ __forceinline__ void sum_at(const float (&x)[kVec], float (&sums)[kVec]) const
    {
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            float sum = bias[i];
#pragma unroll
            for (int k = 0; k < kHistory; ++k) {
                sum = fmaf(weights[k][i], history[k][i], sum);
            }
            sums[i] = fmaf(weights[kHistory][i], x[i], sum);
        }
    }

    // Makes the next input the last one.
    __device__ __forceinline__ void push(const float (&x)[kVec])
    {
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
#pragma unroll
            for (int k = 0; k + 1 < kHistory; ++k) {
                history[k][i] = history[k + 1][i];
            }
            history[kHistory - 1][i] = x[i];
        }
    }

    // Takes the next input and gives its output.
    __device__ __forceinline__ void step(const float (&x)[kVec], bool with_silu, float (&y)[kVec])
    {
        sum_at(x, y);
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            y[i] = with_silu ? silu_for<T>(y[i]) : y[i];
        }
        push(x);
    }
};

}  // namespace mamba
