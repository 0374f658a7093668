// linear_quantized.cu: a linear layer with a quantized weight over few rows, and the weight as floats for many.
//
//   y[r, o] = bias[o] + sum_i x[r, i] * weight[o, i]        x (rows, inputs)   weight (outputs, inputs)   y (rows, outputs)
//
// Weights are numbers of 8 or 4 bits times scales (see mamba/quantized.cuh). The time is that of reading them, so they are made on the
// way; the numbers of a group are summed first, and the sum is scaled: nothing is rounded that a float weight would not have rounded.
//   linear_quantized_mma     tensor cores with 16 outputs as the left matrix and x as the right, one 16-bit type: making a weight costs one
//                            or two operations, its product none, so that four bits too are read at the memory's speed, also for one row
//   linear_quantized_vector  float arithmetic, x of any type, one row a block: four or five operations a weight
//   dequantize_weight        the weight in the type of activations, each rounded once, for the tiles of linear_forward.cu
//
// A block of the first two has 16 outputs, and its warps share the inputs: a warp takes a step of them, then the step that lies as many
// steps on as the block has warps; at the end the warps' sums are added in their order. Which products are added in which order does not
// depend on the number of rows, so a row's result does not depend on the others. Four lanes (eight in the float kernel) read neighbouring
// pieces of 16 bytes of a row, and the next step's pieces while this one's are used; the first already while the kernel before ends, where
// the weights are at rest. Blocks for the next rows of the same outputs follow at once and find the weights in the L2.
#include "mamba/grid_dependency.cuh"
#include "mamba/mma.cuh"
#include "mamba/quantized.cuh"
#include "mamba/types.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct LinearQuantizedParams {
    const void* x;           // rows start at multiples of 16 bytes
    WeightMatrix weight;  // of a multiple of 8 columns
    const float* bias;       // or none
    void* y;
    long long x_stride;  // strides in elements
    long long y_stride;
    int rows;
    int outputs;
    int row_groups;    // rows over the rows of a block, rounded up
    int float_result;  // whether y is float whatever x is
};

struct DequantizeWeightParams {
    WeightMatrix weight;
    void* to;
    long long stride;  // in elements; a row's pieces fit, and start at multiples of 16 bytes
    long long rows;
};

constexpr int kQuantizedOutputs = 16;  // of a block
constexpr int kQuantizedMaxWarps = 16;

// Adds the warps' sums and stores them.
template <typename T, int kRows>
__device__ __forceinline__ void store_sums(
    const LinearQuantizedParams& p, int first_row, int first_output, const float (&sums)[kQuantizedMaxWarps][kRows][kQuantizedOutputs])
{
    __syncthreads();
    int warps = static_cast<int>(blockDim.x) / 32;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kQuantizedOutputs; i += static_cast<int>(blockDim.x)) {
        int row = first_row + i / kQuantizedOutputs;
        int output = first_output + i % kQuantizedOutputs;
        if (row < p.rows && output < p.outputs) {
            float sum = 0;
            for (int warp = 0; warp < warps; ++warp) {
                sum += sums[warp][i / kQuantizedOutputs][i % kQuantizedOutputs];
            }
            sum += p.bias != nullptr ? p.bias[output] : 0;
            long long place = row * p.y_stride + output;
            if (p.float_result) {
                static_cast<float*>(p.y)[place] = sum;
            } else {
                static_cast<T*>(p.y)[place] = from_float<T>(sum);
            }
        }
    }
}

// The products of what four lanes of each row read: 64 numbers of one group. A lane has 16 neighbours of two rows, for four products.
template <typename T, int kRowGroups>
__device__ __forceinline__ void multiply_part(
    const LinearQuantizedParams& p, const QuantizedPiece<8> (&weights)[2], const T* const (&x)[kRowGroups], int column,
    float (&sums)[kRowGroups][4])
{
    int input = column + static_cast<int>(threadIdx.x) % 4 * 16;
    Stored<T, 8> stored[kRowGroups][2];
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        load_inputs(x[group], p.weight.columns, input, stored[group][0]);
        load_inputs(x[group], p.weight.columns, input + 8, stored[group][1]);
    }
    float products[kRowGroups][4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        unsigned int above[2];
        unsigned int below[2];
        number_pairs<T>(weights[0].numbers.words[i], above);
        number_pairs<T>(weights[1].numbers.words[i], below);
        const unsigned int a[4] = {above[0], below[0], above[1], below[1]};
#pragma unroll
        for (int group = 0; group < kRowGroups; ++group) {
            const unsigned int b[2] = {word(stored[group][i / 2], i % 2 * 2), word(stored[group][i / 2], i % 2 * 2 + 1)};
            multiply_accumulate<T>(products[group], a, b);
        }
    }
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            sums[group][i] += products[group][i] * to_float(weights[i / 2].scale);
        }
    }
}

// The same of 128 numbers of 4 bits: each lane read 32 of one group, but a product sums over the four lanes. So they exchange words, and
// have 8 neighbours of each of the four.
template <typename T, int kRowGroups>
__device__ __forceinline__ void multiply_part(
    const LinearQuantizedParams& p, QuantizedPiece<4> (&weights)[2], const T* const (&x)[kRowGroups], int column,
    float (&sums)[kRowGroups][4])
{
    int lane = static_cast<int>(threadIdx.x) % 32;
    transpose_words(weights[0].numbers.words);
    transpose_words(weights[1].numbers.words);
    float own_scales[2] = {to_float(weights[0].scale), to_float(weights[1].scale)};
#pragma unroll
    for (int quarter = 0; quarter < 4; ++quarter) {
        int input = column + quarter * 32 + lane % 4 * 8;
        Stored<T, 8> stored[kRowGroups];
#pragma unroll
        for (int group = 0; group < kRowGroups; ++group) {
            load_inputs(x[group], p.weight.columns, input, stored[group]);
        }
        unsigned int above[4];
        unsigned int below[4];
        number_pairs<T>(weights[0].numbers.words[quarter], above);
        number_pairs<T>(weights[1].numbers.words[quarter], below);
        float products[kRowGroups][4] = {};
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const unsigned int a[4] = {above[2 * half], below[2 * half], above[2 * half + 1], below[2 * half + 1]};
#pragma unroll
            for (int group = 0; group < kRowGroups; ++group) {
                const unsigned int b[2] = {word(stored[group], 2 * half), word(stored[group], 2 * half + 1)};
                multiply_accumulate<T>(products[group], a, b);
            }
        }
        int reader = (lane & ~3) + quarter;
        float scales[2] = {__shfl_sync(0xffffffffu, own_scales[0], reader), __shfl_sync(0xffffffffu, own_scales[1], reader)};
#pragma unroll
        for (int group = 0; group < kRowGroups; ++group) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                sums[group][i] += products[group][i] * scales[i / 2];
            }
        }
    }
}

template <typename T, int kBits, int kRowGroups>
__global__ void __launch_bounds__(512) linear_quantized_mma(const __grid_constant__ LinearQuantizedParams p)
{
    constexpr int kRows = 8 * kRowGroups;
    constexpr int kParts = 2;  // of a step: 128 bytes of a row
    constexpr int kPartWeights = 4 * QuantizedPiece<kBits>::kWeights;

    __shared__ float sums_of[kQuantizedMaxWarps][kRows][kQuantizedOutputs];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp = static_cast<int>(threadIdx.x) / 32;
    int first_row = static_cast<int>(blockIdx.x) % p.row_groups * kRows;
    int first_output = static_cast<int>(blockIdx.x) / p.row_groups * kQuantizedOutputs;

    // Beyond the last output and the last row these are the last one's, whose sums are not stored: a lane without work would hold up the
    // others.
    int place = lane / 4;
    QuantizedRow above(p.weight, min(first_output + place, p.outputs - 1));
    QuantizedRow below(p.weight, min(first_output + place + 8, p.outputs - 1));
    const T* x[kRowGroups];
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        x[group] = static_cast<const T*>(p.x) + min(first_row + group * 8 + place, p.rows - 1) * p.x_stride;
    }

    QuantizedPiece<kBits> next[kParts][2];
    int column = warp * kParts * kPartWeights;
    int last_part = (p.weight.columns - 1) / kPartWeights * kPartWeights;
    auto load_next = [&] {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
            // A part that is not there is the last one again, and not used.
            int from = min(column + part * kPartWeights, last_part) + lane % 4 * QuantizedPiece<kBits>::kWeights;
            load_quantized(above, from, next[part][0]);
            load_quantized(below, from, next[part][1]);
        }
    };
    if (column < p.weight.columns) {
        load_next();
    }
    // The launch overlaps only where the kernel before this one does not write the weights.
    wait_for_earlier_grids();
    let_next_grid_start();
    float sums[kRowGroups][4] = {};
    while (column < p.weight.columns) {
        QuantizedPiece<kBits> weights[kParts][2];
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
            weights[part][0] = next[part][0];
            weights[part][1] = next[part][1];
        }
        int from = column;
        column += static_cast<int>(blockDim.x) / 32 * kParts * kPartWeights;
        if (column < p.weight.columns) {
            load_next();
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
            if (from + part * kPartWeights < p.weight.columns) {
                multiply_part<T, kRowGroups>(p, weights[part], x, from + part * kPartWeights, sums);
            }
        }
    }

#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            sums_of[warp][group * 8 + lane % 4 * 2 + i % 2][place + i / 2 * 8] = sums[group][i];
        }
    }
    store_sums<T, kRows>(p, first_row, first_output, sums_of);
}

template <typename T, int kBits>
__global__ void __launch_bounds__(512) linear_quantized_vector(const __grid_constant__ LinearQuantizedParams p)
{
    constexpr int kLanes = 8;  // of an output
    constexpr int kPieces = 4;
    static_assert(kPieces * 32 == kQuantizedOutputs * kLanes, "a warp has the outputs of a block");
    constexpr int kWeights = QuantizedPiece<kBits>::kWeights;

    __shared__ float sums_of[kQuantizedMaxWarps][1][kQuantizedOutputs];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp = static_cast<int>(threadIdx.x) / 32;
    int row = static_cast<int>(blockIdx.x) % p.row_groups;
    int first_output = static_cast<int>(blockIdx.x) / p.row_groups * kQuantizedOutputs;
    const T* x = static_cast<const T*>(p.x) + row * p.x_stride;
    float sums[kPieces] = {};
    auto row_of = [&](int i) { return QuantizedRow(p.weight, min(first_output + lane / kLanes + i * (32 / kLanes), p.outputs - 1)); };
    const QuantizedRow rows[kPieces] = {row_of(0), row_of(1), row_of(2), row_of(3)};
    QuantizedPiece<kBits> next[kPieces];
    int column = (warp * kLanes + lane % kLanes) * kWeights;
    auto load_next = [&] {
        if (column < p.weight.columns) {
#pragma unroll
            for (int i = 0; i < kPieces; ++i) {
                load_quantized(rows[i], column, next[i]);
            }
        }
    };
    load_next();
    wait_for_earlier_grids();
    let_next_grid_start();
    while (column < p.weight.columns) {
        QuantizedPiece<kBits> weights[kPieces];
#pragma unroll
        for (int i = 0; i < kPieces; ++i) {
            weights[i] = next[i];
        }
        int from = column;
        column += static_cast<int>(blockDim.x) / 32 * kLanes * kWeights;
        load_next();
        float products[kPieces] = {};
#pragma unroll
        for (int eighth = 0; eighth < kWeights / 8; ++eighth) {
            Stored<T, 8> stored;
            load_inputs(x, p.weight.columns, from + eighth * 8, stored);
            float inputs[8];
            widen(stored, inputs);
#pragma unroll
            for (int i = 0; i < kPieces; ++i) {
                float numbers[8];
                widen_numbers(weights[i], eighth, numbers);
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    products[i] += inputs[j] * numbers[j];
                }
            }
        }
#pragma unroll
        for (int i = 0; i < kPieces; ++i) {
            sums[i] += products[i] * to_float(weights[i].scale);
        }
    }

#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
        float sum = sums[i];
#pragma unroll
        for (int distance = kLanes / 2; distance > 0; distance /= 2) {
            sum += __shfl_xor_sync(0xffffffffu, sum, distance);
        }
        if (lane % kLanes == 0) {
            sums_of[warp][0][lane / kLanes + i * (32 / kLanes)] = sum;
        }
    }
    store_sums<T, 1>(p, row, first_output, sums_of);
}

// A thread makes the weights of one piece, and what fills the last piece up.
template <typename T, int kBits>
__global__ void __launch_bounds__(256) dequantize_weight(const __grid_constant__ DequantizeWeightParams p)
{
    constexpr int kWeights = QuantizedPiece<kBits>::kWeights;
    int pieces = (p.weight.columns + kWeights - 1) / kWeights;
    long long number = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;
    long long row = number / pieces;
    if (row >= p.rows) {
        return;
    }
    int column = static_cast<int>(number - row * pieces) * kWeights;
    QuantizedPiece<kBits> piece;
    load_quantized(QuantizedRow(p.weight, row), column, piece);
    float scale = to_float(piece.scale);
    T* to = static_cast<T*>(p.to) + row * p.stride + column;
#pragma unroll
    for (int eighth = 0; eighth < kWeights / 8; ++eighth) {
        float weights[8];
        widen_numbers(piece, eighth, weights);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            weights[j] *= scale;
        }
        store(to + eighth * 8, weights);
    }
}

}  // namespace mamba
