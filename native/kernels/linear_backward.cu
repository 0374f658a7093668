// linear_backward.cu: what the gradients of a linear layer need beside the layer's own kernels.
//
//   grad_x[r, i] = sum_o grad_y[r, o] weight[o, i]   grad_weight[o, i] += sum_r grad_y[r, o] x[r, i]   grad_bias[o] += sum_r grad_y[r, o]
//
//   x, grad_x (rows, inputs)   grad_y (rows, outputs)   weight, grad_weight (outputs, inputs)   grad_bias (outputs)
//
// Where cuBLASLt computes the first two, it reads operands transposed. Else they are the product of linear_forward.cu, whose operands lie
// along the terms of the sum: the weight, or grad_y and x, are transposed into scratch first, which takes rows + columns where the product
// takes rows x columns.
//
//   transpose    squares of 64 x 64 elements through shared memory. Reading and writing each element once is the limit. Rows are filled up
//                with zeros to the stride, since the product takes 16 bytes of a row at once and must read nothing that no one has written
//   column_sums  one block for kVec columns a lane and `chunk_rows` rows, its warps taking turns at rows; each chunk leaves a sum, and
//                partial_sums.cu adds those to grad_bias
//
// The number of rows alone decides the chunks, so that the gradient of the bias repeats bit for bit, wherever grad_y lies.
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct TransposeParams {
    const void* source;
    void* destination;
    long long rows;  // of the source
    long long source_stride;
    long long destination_stride;  // rows, rounded up by less than a square
    int columns;
};

struct ColumnSumsParams {
    const void* source;
    float* partial;  // (chunks, columns)
    long long rows;
    long long source_stride;
    int chunk_rows;
    int columns;
};

// Unit is what an element is as bits: unsigned int or unsigned short. A row of a square ends one element past a whole number of banks, so
// that columns lie in different ones.
template <typename Unit>
__global__ void __launch_bounds__(256) transpose(const __grid_constant__ TransposeParams p)
{
    constexpr int kSide = 64;
    constexpr int kRowsAtOnce = 256 / kSide;
    constexpr int kPad = 4 / sizeof(Unit);
    __shared__ Unit square[kSide][kSide + kPad];
    long long first_row = static_cast<long long>(blockIdx.x) * kSide;
    int first_column = static_cast<int>(blockIdx.y) * kSide;
    int across = static_cast<int>(threadIdx.x) % kSide;
    int down = static_cast<int>(threadIdx.x) / kSide;

    wait_for_earlier_grids();
    let_next_grid_start();
    const Unit* source = static_cast<const Unit*>(p.source) + first_row * p.source_stride + first_column + across;
#pragma unroll
    for (int step = 0; step < kSide; step += kRowsAtOnce) {
        int i = step + down;
        if (first_row + i < p.rows && first_column + across < p.columns) {
            square[i][across] = source[i * p.source_stride];
        }
    }
    __syncthreads();
    Unit* destination = static_cast<Unit*>(p.destination) + first_column * p.destination_stride + first_row + across;
#pragma unroll
    for (int step = 0; step < kSide; step += kRowsAtOnce) {
        int i = step + down;
        if (first_column + i < p.columns && first_row + across < p.destination_stride) {
            destination[i * p.destination_stride] = first_row + across < p.rows ? square[across][i] : Unit{0};
        }
    }
}

// Which rows a warp takes depends on their number alone, and a lane's columns are added each by itself.
template <typename T, bool kAligned>
__global__ void __launch_bounds__(256) column_sums(const __grid_constant__ ColumnSumsParams p)
{
    constexpr int kVec = 16 / sizeof(T);
    constexpr int kWarps = 256 / kWarp;
    __shared__ float sums[kWarps][kWarp * kVec];
    int lane = static_cast<int>(threadIdx.x) % kWarp;
    int warp = static_cast<int>(threadIdx.x) / kWarp;
    int column = (static_cast<int>(blockIdx.x) * kWarp + lane) * kVec;
    int count = min(kVec, p.columns - column);
    long long chunk = blockIdx.y;
    long long end = min((chunk + 1) * p.chunk_rows, p.rows);

    float sum[kVec] = {};
    wait_for_earlier_grids();
    let_next_grid_start();
    const T* source = static_cast<const T*>(p.source) + column;
#pragma unroll 4
    for (long long row = chunk * p.chunk_rows + warp; row < end; row += kWarps) {
        float values[kVec];
        if (count == kVec) {
            load_row<kAligned>(source + row * p.source_stride, kVec, values);
        } else {
            load_elements(source + row * p.source_stride, count, values);
        }
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            sum[i] += values[i];
        }
    }
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
        sums[warp][lane * kVec + i] = sum[i];
    }
    __syncthreads();
    int first = static_cast<int>(blockIdx.x) * kWarp * kVec;
    for (int i = threadIdx.x; i < kWarp * kVec && first + i < p.columns; i += blockDim.x) {
        float total = sums[0][i];
#pragma unroll
        for (int other = 1; other < kWarps; ++other) {
            total += sums[other][i];
        }
        p.partial[chunk * p.columns + first + i] = total;
    }
}

}  // namespace mamba
