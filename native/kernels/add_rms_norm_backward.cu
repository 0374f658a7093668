// add_rms_norm_backward.cu: the gradients of the residual sum and its norm, and the norm again for whoever did not keep it.
//
//   r = 1 / sqrt(mean of residual^2 + epsilon)   n = residual * r   m = mean of grad_y * weight * n, row by row
//   grad_residual += r (grad_y * weight - n m)   grad_x = grad_residual   grad_weight += sum over tokens of grad_y * n   y = n * weight
//
//   grad_y, grad_x, y (tokens, channels), the last two may be none   residual, grad_residual (tokens, channels), fp32   weight (channels)
//   partials (blocks, channels), fp32, or none: each block's part of grad_weight, which partial_sums.cu adds up
//
// A block walks rows_of_block rows, each as add_rms_norm_forward.cu does: a thread has 8 neighbouring channels, and sums meet in the same
// order, so that y comes out to the last bit. The sums of the weight's gradient stay in registers over all rows, and the next row is on
// its way while the block waits for the sums of this one; the weight comes from the first-level cache twice a row, for want of registers.
// A row of more channels than the block holds (8192) is walked twice in passes, and the sums of the weight's gradient lie in memory.
// Memory is the limit: 18 bytes an element in 16-bit types with all results, and 8 bytes a block and channel for the weight.
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct AddRmsNormBackwardParams {
    const float* residual;
    const float* weight;
    const void* grad_y;
    float* grad_residual;
    void* grad_x;
    void* y;
    float* partials;
    long long residual_stride;
    long long grad_y_stride;
    long long grad_residual_stride;
    long long grad_x_stride;
    long long y_stride;
    long long rows;
    long long rows_of_block;
    int channels;
    float epsilon;
};

constexpr int kNormVec = 8;

// A thread's channels of one row.
template <typename T, bool kAligned>
struct NormGradient {
    float x[kNormVec];
    float grad_y[kNormVec];
    float grad_residual[kNormVec];
    float squares = 0.0f;
    float dots = 0.0f;

    __device__ __forceinline__ void add_to_sums(const AddRmsNormBackwardParams& p, int channel)
    {
        float weight[kNormVec];
        load_row<kAligned>(p.weight + channel, p.channels - channel, weight);
#pragma unroll
        for (int i = 0; i < kNormVec; ++i) {
            squares = fmaf(x[i], x[i], squares);
            dots = fmaf(grad_y[i] * weight[i], x[i], dots);
        }
    }

    // Leaves the results of the row, and adds to the gradient of the weight. Multiply-adds are explicit, so all instances round alike.
    __device__ __forceinline__ void leave(const AddRmsNormBackwardParams& p, long long row, int channel, float (&grad_weight)[kNormVec])
    {
        float scale = 1.0f / sqrtf(squares / static_cast<float>(p.channels) + p.epsilon);
        float mean = scale * dots / static_cast<float>(p.channels);
        int count = p.channels - channel;
        float weight[kNormVec];
        float y[kNormVec];
        load_row<kAligned>(p.weight + channel, count, weight);
#pragma unroll
        for (int i = 0; i < kNormVec; ++i) {
            float normed = x[i] * scale;
            float gradient = fmaf(-normed, mean, grad_y[i] * weight[i]);
            grad_residual[i] = fmaf(gradient, scale, grad_residual[i]);
            grad_weight[i] = fmaf(grad_y[i], normed, grad_weight[i]);
            y[i] = normed * weight[i];
        }
        store_row<kAligned>(p.grad_residual + row * p.grad_residual_stride + channel, count, grad_residual);
        if (p.grad_x != nullptr) {
            store_row<kAligned>(static_cast<T*>(p.grad_x) + row * p.grad_x_stride + channel, count, grad_residual);
        }
        if (p.y != nullptr) {
            store_row<kAligned>(static_cast<T*>(p.y) + row * p.y_stride + channel, count, y);
        }
    }
};

// What is read of a row before its sums are known, in flight.
template <typename T, bool kAligned>
struct NormInputs {
    Stored<float, kNormVec> x;
    Stored<T, kNormVec> grad_y;

    __device__ __forceinline__ void load(const AddRmsNormBackwardParams& p, long long row, int channel)
    {
        int count = p.channels - channel;
        load_row<kAligned>(p.residual + row * p.residual_stride + channel, count, x);
        load_row<kAligned>(static_cast<const T*>(p.grad_y) + row * p.grad_y_stride + channel, count, grad_y);
    }
};

// Rows that the block's registers hold.
template <typename T, bool kAligned>
__device__ __forceinline__ void walk_rows(const AddRmsNormBackwardParams& p, long long first, long long end, float (*scratch)[kWarp][2])
{
    int channel = static_cast<int>(threadIdx.x) * kNormVec;
    bool has_channels = channel < p.channels;
    float grad_weight[kNormVec] = {};
    NormInputs<T, kAligned> next = {};
    if (has_channels) {
        next.load(p, first, channel);
    }
    for (long long row = first; row < end; ++row) {
        NormGradient<T, kAligned> at;
        widen(next.x, at.x);
        widen(next.grad_y, at.grad_y);
        if (has_channels) {
            load_row<kAligned>(p.grad_residual + row * p.grad_residual_stride + channel, p.channels - channel, at.grad_residual);
            if (row + 1 < end) {
                next.load(p, row + 1, channel);
            }
            at.add_to_sums(p, channel);
        }
        // The scratch of the row before may still be read.
        block_sums(at.squares, at.dots, scratch[(row - first) % 2]);
        if (has_channels) {
            at.leave(p, row, channel, grad_weight);
        }
    }
    if (has_channels && p.partials != nullptr) {
        store_row<kAligned>(p.partials + static_cast<long long>(blockIdx.x) * p.channels + channel, p.channels - channel, grad_weight);
    }
}

// Longer rows.
template <typename T, bool kAligned>
__device__ __forceinline__ void walk_rows_in_passes(
    const AddRmsNormBackwardParams& p, long long first, long long end, float (*scratch)[kWarp][2])
{
    int width = static_cast<int>(blockDim.x) * kNormVec;
    int first_channel = static_cast<int>(threadIdx.x) * kNormVec;
    float* partials = p.partials != nullptr ? p.partials + static_cast<long long>(blockIdx.x) * p.channels : nullptr;
    for (long long row = first; row < end; ++row) {
        NormGradient<T, kAligned> at;
        const float* residual = p.residual + row * p.residual_stride;
        const T* grad_y = static_cast<const T*>(p.grad_y) + row * p.grad_y_stride;
        for (int channel = first_channel; channel < p.channels; channel += width) {
            int count = p.channels - channel;
            load_row<kAligned>(residual + channel, count, at.x);
            load_row<kAligned>(grad_y + channel, count, at.grad_y);
            at.add_to_sums(p, channel);
        }
        block_sums(at.squares, at.dots, scratch[(row - first) % 2]);
        for (int channel = first_channel; channel < p.channels; channel += width) {
            int count = p.channels - channel;
            load_row<kAligned>(residual + channel, count, at.x);
            load_row<kAligned>(grad_y + channel, count, at.grad_y);
            load_row<kAligned>(p.grad_residual + row * p.grad_residual_stride + channel, count, at.grad_residual);
            float grad_weight[kNormVec] = {};
            if (partials != nullptr && row > first) {
                load_row<kAligned>(partials + channel, count, grad_weight);
            }
            at.leave(p, row, channel, grad_weight);
            if (partials != nullptr) {
                store_row<kAligned>(partials + channel, count, grad_weight);
            }
        }
    }
}

template <typename T, bool kAligned, bool kInOnePass>
__global__ void __launch_bounds__(1024) add_rms_norm_backward(const __grid_constant__ AddRmsNormBackwardParams p)
{
    __shared__ float scratch[2][kWarp][2];
    long long first = static_cast<long long>(blockIdx.x) * p.rows_of_block;
    long long end = first + p.rows_of_block < p.rows ? first + p.rows_of_block : p.rows;
    wait_for_earlier_grids();
    if constexpr (kInOnePass) {
        walk_rows<T, kAligned>(p, first, end, scratch);
    } else {
        walk_rows_in_passes<T, kAligned>(p, first, end, scratch);
    }
    let_next_grid_start();
}

}  // namespace mamba
