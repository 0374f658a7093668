// gradient_norm.cu: the Euclidean norm of all gradients together, left on the device.
//
//   norm = sqrt(sum over i of gradients[i]^2)        gradients (count), fp32   norm (1), fp32
//
// Two launches. gradient_norm: each block walks the gradients in steps of the whole grid, 4 neighbours a thread and step, and leaves one
// sum; gradient_norm_finish: one block adds those. Which thread adds what depends on `count` alone, not on the card or on where the
// gradients lie, so that the norm repeats bit for bit. Sums are float64: no square of a float overflows there or vanishes, and NaN and
// infinity show.
//
// Memory is the limit: 4 bytes an element. A float64 multiply-add and a conversion go with each, which cards with a 64th of the float rate
// just keep up with.
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct GradientNormParams {
    const float* gradients;
    double* partial;  // one sum a block of the first launch
    float* norm;
    long long count;
    int partials;
};

template <bool kAligned>
__global__ void __launch_bounds__(256) gradient_norm(const __grid_constant__ GradientNormParams p)
{
    constexpr int kVec = 4;
    __shared__ double warp_sums[256 / kWarp];
    long long width = static_cast<long long>(gridDim.x) * blockDim.x * kVec;
    double squares = 0;

    wait_for_earlier_grids();
#pragma unroll 4
    for (long long i = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * kVec; i < p.count; i += width) {
        float values[kVec];
        long long left = p.count - i;
        if (left >= kVec) {
            load_row<kAligned>(p.gradients + i, kVec, values);
        } else {
            load_elements(p.gradients + i, static_cast<int>(left), values);
        }
#pragma unroll
        for (int j = 0; j < kVec; ++j) {
            double value = values[j];
            squares = fma(value, value, squares);
        }
    }

    let_next_grid_start();
    squares = block_reduce(squares, warp_sums, Sum());
    if (threadIdx.x == 0) {
        p.partial[blockIdx.x] = squares;
    }
}

__global__ void __launch_bounds__(256) gradient_norm_finish(const __grid_constant__ GradientNormParams p)
{
    __shared__ double warp_sums[256 / kWarp];
    double squares = 0;
    wait_for_earlier_grids();
    let_next_grid_start();
    for (int i = threadIdx.x; i < p.partials; i += blockDim.x) {
        squares += p.partial[i];
    }
    squares = block_reduce(squares, warp_sums, Sum());
    if (threadIdx.x == 0) {
        *p.norm = static_cast<float>(sqrt(squares));
    }
}

}  // namespace mamba
