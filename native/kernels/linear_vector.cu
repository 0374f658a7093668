// linear_vector.cu: a linear layer over few rows, which reads each weight once for all of them.
//
//   y[r, o] = bias[o] + sum_i x[r, i] * weight[o, i]        x (rows, inputs)   weight (outputs, inputs)   y (rows, outputs)
//
// The time is that of reading the weights. A block has some outputs, and its warps share the inputs: a warp takes a piece of them, then the
// piece that lies as many pieces on as the block has warps; at the end the warps' sums are added in their order. Which products are added
// in which order does not depend on the number of rows, so in either of the two kernels a row's result does not depend on the others:
//   linear_vector       float arithmetic: any types. A warp reads 256 inputs of kOutputs outputs in one go, 512 bytes of a row in 16-bit
//                       types; the best for one row, and bound by reading x again for each kOutputs outputs from about four on.
//   linear_vector_mma   tensor cores with 16 outputs as the left matrix and x as the right: x and weight of one 16-bit type. 8 kRowGroups
//                       rows cost what one does. A warp reads 64 bytes from each of eight weight rows in one go, which is how the matrices
//                       want them; the order of the 16 inputs that one product sums is free, so a lane takes its inputs as they lie, 8
//                       neighbours for two products.
// Both do as many rows at a time as their template says; blocks for the next rows of the same outputs follow at once and find the weights
// in the L2. Where the weights are at rest, they read the first of them while the kernel before it ends: into registers; the same
// by a prefetch into the L2 is slower than none.
#include "mamba/grid_dependency.cuh"
#include "mamba/mma.cuh"
#include "mamba/types.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct LinearVectorParams {
    const void* x;
    const void* weight;
    const float* bias;  // or none
    void* y;
    long long x_stride;  // strides in elements
    long long weight_stride;
    long long y_stride;
    int rows;
    int inputs;
    int outputs;
    int row_groups;  // rows over the rows of a block, rounded up
};

constexpr int kVectorInputs = 8;  // of a thread at a time
constexpr int kVectorMaxWarps = 16;

// What one block computes.
template <int kRows, int kOutputs>
struct LinearVectorWork {
    int row;
    int output;
    int lane;
    int warp;
    int warps;

    __device__ explicit LinearVectorWork(const LinearVectorParams& p)
        : row(static_cast<int>(blockIdx.x) % p.row_groups * kRows),
          output(static_cast<int>(blockIdx.x) / p.row_groups * kOutputs),
          lane(static_cast<int>(threadIdx.x) % 32),
          warp(static_cast<int>(threadIdx.x) / 32),
          warps(static_cast<int>(blockDim.x) / 32)
    {
    }
};

// The first `left` elements, none if it is negative; the rest is zero.
template <bool kAligned, Access kAccess, typename T>
__device__ __forceinline__ void load_inputs(const T* from, int left, Stored<T, kVectorInputs>& to)
{
    if (kAligned && left >= kVectorInputs) {
        load<kAccess>(from, to);
    } else {
        float values[kVectorInputs];
        load_elements(from, left, values);
        narrow(values, to);
    }
}

// Adds the warps' sums and stores them.
template <typename TY, int kRows, int kOutputs>
__device__ __forceinline__ void store_outputs(
    const LinearVectorParams& p, const LinearVectorWork<kRows, kOutputs>& work, const float (&sums)[kVectorMaxWarps][kRows][kOutputs])
{
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kOutputs; i += static_cast<int>(blockDim.x)) {
        int row = work.row + i / kOutputs;
        int output = work.output + i % kOutputs;
        if (row < p.rows && output < p.outputs) {
            float sum = 0;
            for (int warp = 0; warp < work.warps; ++warp) {
                sum += sums[warp][i / kOutputs][i % kOutputs];
            }
            float bias = p.bias != nullptr ? p.bias[output] : 0;
            static_cast<TY*>(p.y)[row * p.y_stride + output] = from_float<TY>(sum + bias);
        }
    }
}

template <typename TX, typename TWeight, typename TY, int kRows, int kOutputs, bool kAligned>
__global__ void __launch_bounds__(256) linear_vector(const __grid_constant__ LinearVectorParams p)
{
    __shared__ float sums_of[kVectorMaxWarps][kRows][kOutputs];
    LinearVectorWork<kRows, kOutputs> work(p);
    float sums[kRows][kOutputs] = {};
    Stored<TWeight, kVectorInputs> weights[kOutputs];
    int input = static_cast<int>(threadIdx.x) * kVectorInputs;
    auto load_next = [&] {
        if (input >= p.inputs) {
            return;
        }
        // Beyond the last output and the last row these are the last one's, whose sums are not stored.
#pragma unroll
        for (int i = 0; i < kOutputs; ++i) {
            const TWeight* row = static_cast<const TWeight*>(p.weight) + min(work.output + i, p.outputs - 1) * p.weight_stride;
            load_inputs<kAligned, Access::read_once>(row + input, p.inputs - input, weights[i]);
        }
    };
    load_next();
    // The launch overlaps only where the kernel before this one does not write the weights.
    wait_for_earlier_grids();
    let_next_grid_start();
    while (input < p.inputs) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            Stored<TX, kVectorInputs> stored;
            const TX* row = static_cast<const TX*>(p.x) + min(work.row + r, p.rows - 1) * p.x_stride;
            load_inputs<kAligned, Access::plain>(row + input, p.inputs - input, stored);
            float x[kVectorInputs];
            widen(stored, x);
#pragma unroll
            for (int i = 0; i < kOutputs; ++i) {
                float weight[kVectorInputs];
                widen(weights[i], weight);
#pragma unroll
                for (int j = 0; j < kVectorInputs; ++j) {
                    sums[r][i] += x[j] * weight[j];
                }
            }
        }
        input += work.warps * 32 * kVectorInputs;
        load_next();
    }

#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int i = 0; i < kOutputs; ++i) {
            float sum = sums[r][i];
#pragma unroll
            for (int distance = 16; distance > 0; distance /= 2) {
                sum += __shfl_xor_sync(0xffffffffu, sum, distance);
            }
            if (work.lane == 0) {
                sums_of[work.warp][r][i] = sum;
            }
        }
    }
    store_outputs<TY>(p, work, sums_of);
}

// Weights for linear_vector_mma: the other half of the 128 bytes that these 16 lie in is what the warp reads next.
template <bool kAligned, typename T>
__device__ __forceinline__ void load_weights(const T* from, int left, Stored<T, kVectorInputs>& to)
{
#if defined(__CUDA_ARCH__)
    if (kAligned && left >= kVectorInputs) {
        unsigned int(&words)[4] = to.pieces[0].words;
        asm("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
            : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
            : "l"(from));
        return;
    }
#endif
    load_inputs<kAligned, Access::read_once>(from, left, to);
}

template <typename T, typename TY, int kRowGroups, bool kAligned>
__global__ void __launch_bounds__(512) linear_vector_mma(const __grid_constant__ LinearVectorParams p)
{
    constexpr int kOutputs = 16;
    constexpr int kRows = 8 * kRowGroups;
    constexpr int kParts = 2;  // of 32 inputs

    __shared__ float sums_of[kVectorMaxWarps][kRows][kOutputs];
    LinearVectorWork<kRows, kOutputs> work(p);
    // Beyond the last output and the last row these are the last one's, whose sums are not stored: a lane without work would hold up the
    // others.
    int place = work.lane / 4;
    int last = p.outputs - 1;
    const T* above = static_cast<const T*>(p.weight) + min(work.output + place, last) * p.weight_stride;
    const T* below = static_cast<const T*>(p.weight) + min(work.output + place + 8, last) * p.weight_stride;
    const T* x[kRowGroups];
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        x[group] = static_cast<const T*>(p.x) + min(work.row + group * 8 + place, p.rows - 1) * p.x_stride;
    }

    Stored<T, kVectorInputs> weights[kParts][2];
    auto load_next = [&](int first) {
#pragma unroll
        for (int part = 0; part < kParts && first < p.inputs; ++part) {
            int input = first + part * 32 + work.lane % 4 * kVectorInputs;
            load_weights<kAligned>(above + input, p.inputs - input, weights[part][0]);
            load_weights<kAligned>(below + input, p.inputs - input, weights[part][1]);
        }
    };
    int first = work.warp * kParts * 32;
    load_next(first);
    // As in linear_vector.
    wait_for_earlier_grids();
    let_next_grid_start();
    float sums[kRowGroups][4] = {};
    while (first < p.inputs) {
        Stored<T, kVectorInputs> stored[kParts][kRowGroups];
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
            int input = first + part * 32 + work.lane % 4 * kVectorInputs;
#pragma unroll
            for (int group = 0; group < kRowGroups; ++group) {
                load_inputs<kAligned, Access::plain>(x[group] + input, p.inputs - input, stored[part][group]);
            }
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const unsigned int a[4] = {word(weights[part][0], 2 * half), word(weights[part][1], 2 * half),
                    word(weights[part][0], 2 * half + 1), word(weights[part][1], 2 * half + 1)};
#pragma unroll
                for (int group = 0; group < kRowGroups; ++group) {
                    const unsigned int b[2] = {word(stored[part][group], 2 * half), word(stored[part][group], 2 * half + 1)};
                    multiply_accumulate<T>(sums[group], a, b);
                }
            }
        }
        first += work.warps * kParts * 32;
        load_next(first);
    }

#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            sums_of[work.warp][group * 8 + work.lane % 4 * 2 + i % 2][place + i / 2 * 8] = sums[group][i];
        }
    }
    store_outputs<TY>(p, work, sums_of);
}

}  // namespace mamba
