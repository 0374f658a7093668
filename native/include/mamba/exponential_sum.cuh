// exponential_sum.cuh: the sum of exponentials that softmax divides by, in one pass over the exponents.
//
// Kept as the largest exponent so far and the sum of e^(x - largest), which is rescaled when a larger one comes, so that nothing overflows.
// NaN, and plus infinity, make the sum NaN, as the formula has it; minus infinity adds nothing.
#pragma once

#include "mamba/fast_math.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

// sum of e^(x - largest). Of nothing: largest is minus infinity, sum 0.
struct ExponentialSum {
    float largest;
    float sum;

    static __device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

    static __device__ __forceinline__ ExponentialSum of_nothing() { return {minus_infinity(), 0.0f}; }

    // Minus infinity less itself would be NaN, and 0 is as good a point of reference where there is nothing to sum.
    __device__ __forceinline__ float reference() const { return largest == minus_infinity() ? 0.0f : largest; }

    __device__ __forceinline__ void add(ExponentialSum other)
    {
        float new_largest = fmaxf(largest, other.largest);
        ExponentialSum both = {new_largest, 0.0f};
        float to = both.reference();
        both.sum = sum * expf(reference() - to) + other.sum * expf(other.reference() - to);
        // A term of nothing is 0 whatever its factor, which may be infinite where the reference is far below.
        *this = sum == 0.0f ? other : other.sum == 0.0f ? *this : both;
    }

    // T: float, or a type of 16 bits where the exponents come of such, and the error of exp_16 is below theirs.
    template <typename T = float, int N>
    __device__ __forceinline__ void add_terms(const float (&exponents)[N])
    {
        float new_largest = exponents[0];
#pragma unroll
        for (int i = 1; i < N; ++i) {
            new_largest = fmaxf(new_largest, exponents[i]);
        }
        if (new_largest > largest) {
            sum *= expf(largest - new_largest);
            largest = new_largest;
        }
        float from = reference();
#pragma unroll
        for (int i = 0; i < N; ++i) {
            sum += exp_for<T>(exponents[i] - from);
        }
    }
};

// Four exponents from `first` on of a row of `count`; where there are none any more, minus infinity.
template <bool kAligned>
__device__ __forceinline__ void load_exponents(const float* row, int first, int count, float (&exponents)[4])
{
    if (count - first >= 4) {
        load_row<kAligned>(row + first, 4, exponents);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            exponents[i] = first + i < count ? row[first + i] : ExponentialSum::minus_infinity();
        }
    }
}

// The threads' sums met in an order that their number decides. Every thread of the block takes part, and a barrier stands between what they
// did before and what they do after. `scratch` holds one sum a warp, 32 at most.
__device__ __forceinline__ ExponentialSum block_sum(ExponentialSum total, ExponentialSum* scratch)
{
    int lane = static_cast<int>(threadIdx.x) % kWarp;
    int warps = static_cast<int>(blockDim.x) / kWarp;
    auto meet_in_first_lane = [&] {
#pragma unroll
        for (int distance = kWarp / 2; distance > 0; distance /= 2) {
            total.add({__shfl_xor_sync(kAllLanes, total.largest, distance), __shfl_xor_sync(kAllLanes, total.sum, distance)});
        }
    };
    // Lanes need not end with the same bits, since a product may be fused with the sum on one side; the first one's count.
    meet_in_first_lane();
    if (lane == 0) {
        scratch[static_cast<int>(threadIdx.x) / kWarp] = total;
    }
    __syncthreads();
    if (warps > 1) {
        if (static_cast<int>(threadIdx.x) < kWarp) {
            total = lane < warps ? scratch[lane] : ExponentialSum::of_nothing();
            meet_in_first_lane();
            if (lane == 0) {
                scratch[0] = total;
            }
        }
        __syncthreads();
    }
    return scratch[0];
}

}  // namespace mamba
