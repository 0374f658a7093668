// add_rms_norm_forward.cu: adds to the residual stream, and gives its norm.
//
//   residual_out = residual + x;   y = residual_out / sqrt(mean of residual_out^2 + epsilon) * weight, row by row
//
//   x, y (tokens, channels), x may be none   residual, residual_out (tokens, channels), fp32, may be the same   weight (channels)
//
// One block a row, one thread 8 neighbouring channels, the row in registers between the sum of squares and the norm: x and the residual are
// read once. A row of more channels than the block holds (8192) is walked in passes, the later ones reading back what the first wrote.
// Memory is the limit: 12 bytes an element in 16-bit types. Which thread sums which channels depends on their number alone, so the result
// is the same for aligned rows (kAligned) and others.
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct AddRmsNormForwardParams {
    const void* x;
    const float* residual;
    const float* weight;
    float* residual_out;  // or residual itself, which is not written where nothing is added
    void* y;
    long long x_stride;
    long long residual_stride;
    long long residual_out_stride;
    long long y_stride;
    int channels;
    float epsilon;
};

constexpr int kNormVec = 8;

template <typename T, bool kAligned, bool kInOnePass>
__global__ void __launch_bounds__(1024) add_rms_norm_forward(const __grid_constant__ AddRmsNormForwardParams p)
{
    __shared__ float partial_sums[32];
    long long row = blockIdx.x;
    const float* residual = p.residual + row * p.residual_stride;
    float* residual_out = p.residual_out + row * p.residual_out_stride;
    T* y = static_cast<T*>(p.y) + row * p.y_stride;
    int width = static_cast<int>(blockDim.x) * kNormVec;
    int first = static_cast<int>(threadIdx.x) * kNormVec;
    float values[kNormVec];
    float squares = 0.0f;

    // Before it waits for this kernel, a linear layer reads its weight and nothing else. It may as well begin while this one waits: of 64 rows of
    // 130m, a step is 4 % shorter so.
    let_next_grid_start();
    wait_for_earlier_grids();
    for (int channel = first; channel < p.channels; channel += width) {
        int count = p.channels - channel;
        load_row<kAligned>(residual + channel, count, values);
        if (p.x != nullptr) {
            float x[kNormVec];
            load_row<kAligned>(static_cast<const T*>(p.x) + row * p.x_stride + channel, count, x);
#pragma unroll
            for (int i = 0; i < kNormVec; ++i) {
                values[i] += x[i];
            }
        }
        if (p.x != nullptr || p.residual_out != p.residual) {
            store_row<kAligned>(residual_out + channel, count, values);
        }
#pragma unroll
        for (int i = 0; i < kNormVec; ++i) {
            squares = fmaf(values[i], values[i], squares);
        }
        if (kInOnePass) {
            break;
        }
    }

    float mean = block_sum(squares, partial_sums) / static_cast<float>(p.channels);
    float scale = 1.0f / sqrtf(mean + p.epsilon);
    for (int channel = first; channel < p.channels; channel += width) {
        int count = p.channels - channel;
        if (!kInOnePass) {
            load_row<kAligned>(residual_out + channel, count, values);
        }
        float weight[kNormVec];
        load_row<kAligned>(p.weight + channel, count, weight);
#pragma unroll
        for (int i = 0; i < kNormVec; ++i) {
            values[i] = values[i] * scale * weight[i];
        }
        store_row<kAligned>(y + channel, count, values);
        if (kInOnePass) {
            break;
        }
    }
}

}  // namespace mamba
