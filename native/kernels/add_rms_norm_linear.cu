// add_rms_norm_linear.cu: a linear layer over one row, of which the residual sum and its norm may be a part.
//
//   h = residual + x                           kNorm; without, h = x
//   y[o] = bias[o] + scale * sum_i h[i] norm_weight[i] weight[o, i]         scale = 1 / sqrt(mean of h^2 + epsilon)
//
//   x (inputs), may be none with a norm   residual, residual_out (inputs), fp32, not the same   weight (outputs, inputs)   y (outputs)
//
// The time is that of reading the weights, so they are read as a stream that nothing interrupts. One block a multiprocessor; its warps are
// groups, a group has a range of outputs, and each of its warps a part of the inputs: those of x stay in its registers, and the weights of
// some rows are always on their way. The first of them are read while the kernel before this one ends. Every block makes the sum and its
// norm anew, which costs nothing beside waiting for another kernel to do so; the scale is multiplied at the end.
// Phases: 1. the first weights   2. x, and the squares of h   3. rows: products, the lanes' sums, the next weights   4. sums of a row's parts
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct AddRmsNormLinearParams {
    const void* x;
    const float* residual;
    float* residual_out;  // or null
    const float* norm_weight;
    const void* weight;
    const float* bias;  // or null
    void* y;
    long long weight_stride;
    int inputs;
    int outputs;
    int parts;           // of the inputs, each a warp's of a group
    int group_outputs;   // most that a group has
    float epsilon;
};

constexpr int kRowPiece = 8;  // inputs that lie side by side for a lane
constexpr int kRowMostParts = 16;

// The inputs of a lane: kPieces pieces, which lie 32 pieces apart.
template <int kPieces>
struct RowInputs {
    int first;
    int inputs;

    __device__ __forceinline__ RowInputs(int part, int lane, int all)
        : first((part * kPieces * kWarp + lane) * kRowPiece)
        , inputs(all)
    {
    }

    __device__ __forceinline__ int column(int piece) const { return first + piece * kWarp * kRowPiece; }

    __device__ __forceinline__ bool has(int piece) const { return column(piece) < inputs; }
};

template <typename T, typename TY, int kPieces, bool kNorm>
__global__ void __launch_bounds__(512) add_rms_norm_linear(const __grid_constant__ AddRmsNormLinearParams p)
{
    // Rows of weights on their way: 128 bytes a lane.
    constexpr int kAhead = 16 / static_cast<int>(sizeof(T)) / kPieces;
    extern __shared__ float row_sums[];  // (group, output, part)
    __shared__ float squares[kRowMostParts];

    int lane = static_cast<int>(threadIdx.x) % kWarp;
    int warp = static_cast<int>(threadIdx.x) / kWarp;
    int part = warp % p.parts;
    int group = warp / p.parts;
    int groups = static_cast<int>(blockDim.x) / kWarp / p.parts;
    int all_groups = static_cast<int>(gridDim.x) * groups;
    auto first_output = [&](int of_group) {
        return static_cast<int>(static_cast<long long>(p.outputs) * (static_cast<int>(blockIdx.x) * groups + of_group) / all_groups);
    };
    int first = first_output(group);
    int last = first_output(group + 1);
    RowInputs<kPieces> own(part, lane, p.inputs);

    // What lies beyond the inputs stays zero.
    Stored<T, kRowPiece> weights[kAhead][kPieces] = {};
    auto load_row = [&](int output, Stored<T, kRowPiece> (&to)[kPieces]) {
        const T* row = static_cast<const T*>(p.weight) + output * p.weight_stride;
#pragma unroll
        for (int piece = 0; piece < kPieces; ++piece) {
            if (output < last && own.has(piece)) {
                load<Access::read_once>(row + own.column(piece), to[piece]);
            }
        }
    };
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
        load_row(first + i, weights[i]);
    }

    wait_for_earlier_grids();
    let_next_grid_start();
    float x[kPieces][kRowPiece];
    float sum_of_squares = 0.0f;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
        for (int i = 0; i < kRowPiece; ++i) {
            x[piece][i] = 0.0f;
        }
        if (!own.has(piece)) {
            continue;
        }
        int column = own.column(piece);
        if (!kNorm || p.x != nullptr) {
            load(static_cast<const T*>(p.x) + column, x[piece]);
        }
        if constexpr (kNorm) {
            float residual[kRowPiece];
            float scale[kRowPiece];
            load(p.residual + column, residual);
            load(p.norm_weight + column, scale);
#pragma unroll
            for (int i = 0; i < kRowPiece; ++i) {
                x[piece][i] = residual[i] + x[piece][i];
                sum_of_squares = fmaf(x[piece][i], x[piece][i], sum_of_squares);
            }
            if (p.residual_out != nullptr && group == 0 && static_cast<int>(blockIdx.x) == part % static_cast<int>(gridDim.x)) {
                store(p.residual_out + column, x[piece]);
            }
#pragma unroll
            for (int i = 0; i < kRowPiece; ++i) {
                x[piece][i] *= scale[i];
            }
        }
    }
    if (kNorm && group == 0) {
        sum_of_squares = warp_sum(sum_of_squares);
        if (lane == 0) {
            squares[part] = sum_of_squares;
        }
    }

    for (int output = first; output < last; output += kAhead) {
        float sums[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            sums[i] = 0.0f;
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                float weight[kRowPiece];
                widen(weights[i][piece], weight);
#pragma unroll
                for (int j = 0; j < kRowPiece; ++j) {
                    sums[i] = fmaf(x[piece][j], weight[j], sums[i]);
                }
            }
            load_row(output + kAhead + i, weights[i]);
        }
        float sum = lane_sums<kAhead, kWarp, 1>(sums, lane);
        int of_lane = lane / (kWarp / kAhead);
        if (lane % (kWarp / kAhead) == 0 && output + of_lane < last) {
            row_sums[(group * p.group_outputs + output - first + of_lane) * p.parts + part] = sum;
        }
    }
    __syncthreads();

    float scale = 1.0f;
    if constexpr (kNorm) {
        float sum = 0.0f;
        for (int i = 0; i < p.parts; ++i) {
            sum += squares[i];
        }
        scale = 1.0f / sqrtf(sum / static_cast<float>(p.inputs) + p.epsilon);
    }
    for (int i = static_cast<int>(threadIdx.x); i < groups * p.group_outputs; i += static_cast<int>(blockDim.x)) {
        int of_group = i / p.group_outputs;
        int output = first_output(of_group) + i % p.group_outputs;
        if (output < first_output(of_group + 1)) {
            float sum = 0.0f;
            for (int k = 0; k < p.parts; ++k) {
                sum += row_sums[i * p.parts + k];
            }
            float bias = p.bias != nullptr ? p.bias[output] : 0.0f;
            static_cast<TY*>(p.y)[output] = from_float<TY>(fmaf(sum, scale, bias));
        }
    }
}

}  // namespace mamba
