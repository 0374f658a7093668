// adam_w.cu: one step of AdamW over parameters that lie one after the other, the clip of the gradients' norm included.
//
//   g = gradient * scale                       m += (g - m) first_share           v = beta2 v + second_share g^2
//   p = keep p - step_size m / (sqrt(v) root_correction + epsilon)                rounded = p
//
//   scale = gradient_scale * min(1, max_norm / (norm * gradient_scale + 1e-6)), without a norm gradient_scale; where the norm is not finite
//   nothing is changed at all
//
//   parameters, gradients, first_moment, second_moment (count), fp32   rounded (count), fp32, bf16 or fp16, or none   norm (1), fp32
//   keep, step_size and root_correction, which are others in every step: from the parameters, or from memory, for a launch in a graph
//
// One thread steps 4 neighbours, one launch steps all. The norm is read here, so that the host need not wait for it. Memory is the limit:
// 28 bytes an element, and those of `rounded`. No parameter depends on another, nor on how the work is cut. Multiply-adds are spelled out,
// so that every compiler and every form of the kernel rounds alike; root and quotient are the exactly rounded ones.
#include "mamba/grid_dependency.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct AdamWFactors {
    float keep;
    float step_size;
    float root_correction;
};

struct AdamWParams {
    float* parameters;
    const float* gradients;
    float* first_moment;
    float* second_moment;
    void* rounded;      // or none
    const float* norm;  // or none
    const AdamWFactors* stored_factors;  // in place of factors, or none
    long long count;
    double gradient_scale;
    AdamWFactors factors;
    float max_norm;
    float first_share;
    float beta2;
    float second_share;
    float epsilon;
};

constexpr int kAdamWVec = 4;

template <typename T, bool kAligned>
__device__ __forceinline__ void adam_w_step(const AdamWParams& p, const AdamWFactors& factors, float scale, long long i, int count)
{
    float gradient[kAdamWVec];
    float m[kAdamWVec];
    float v[kAdamWVec];
    float value[kAdamWVec];
    load_row<kAligned>(p.gradients + i, count, gradient);
    load_row<kAligned>(p.first_moment + i, count, m);
    load_row<kAligned>(p.second_moment + i, count, v);
    load_row<kAligned>(p.parameters + i, count, value);
#pragma unroll
    for (int j = 0; j < kAdamWVec; ++j) {
        float g = gradient[j] * scale;
        m[j] = fmaf(g - m[j], p.first_share, m[j]);
        v[j] = fmaf(g * p.second_share, g, v[j] * p.beta2);
        float root = fmaf(sqrtf(v[j]), factors.root_correction, p.epsilon);
        value[j] = fmaf(-factors.step_size, m[j] / root, value[j] * factors.keep);
    }
    store_row<kAligned>(p.parameters + i, count, value);
    store_row<kAligned>(p.first_moment + i, count, m);
    store_row<kAligned>(p.second_moment + i, count, v);
    if (p.rounded != nullptr) {
        store_row<kAligned>(static_cast<T*>(p.rounded) + i, count, value);
    }
}

template <typename T, bool kAligned>
__global__ void __launch_bounds__(256) adam_w(const __grid_constant__ AdamWParams p)
{
    // In place of a scale, which is not negative.
    constexpr double kSkipped = -1;
    __shared__ float block_scale;
    __shared__ AdamWFactors block_factors;
    wait_for_earlier_grids();
    if (threadIdx.x == 0) {
        // In float64, of which cards have little: one thread for all.
        double scale = p.gradient_scale;
        if (p.norm != nullptr) {
            double norm = *p.norm;
            double clip = static_cast<double>(p.max_norm) / (norm * scale + 1e-6);
            scale = isfinite(norm) ? scale * (clip < 1 ? clip : 1) : kSkipped;
        }
        block_scale = static_cast<float>(scale);
        block_factors = p.stored_factors == nullptr ? p.factors : *p.stored_factors;
    }
    __syncthreads();
    float scale = block_scale;
    AdamWFactors factors = block_factors;
    let_next_grid_start();
    if (scale < 0.0f) {
        return;
    }

    long long width = static_cast<long long>(gridDim.x) * blockDim.x * kAdamWVec;
    for (long long i = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * kAdamWVec; i < p.count; i += width) {
        long long left = p.count - i;
        if (left >= kAdamWVec) {
            adam_w_step<T, kAligned>(p, factors, scale, i, kAdamWVec);
        } else {
            adam_w_step<T, false>(p, factors, scale, i, static_cast<int>(left));
        }
    }
}

}  // namespace mamba
