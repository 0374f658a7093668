// exponential_sum.cuh: the logarithm of a sum of exponentials in one pass.
//
// The largest term met so far stands apart and the others are summed in relation to it, rescaled when a larger one comes, so that nothing
// overflows. NaN, and plus infinity, make the sum NaN, as the formula has it; minus infinity is a term of 0.
#pragma once

#include "mamba/reductions.cuh"

namespace mamba {

// sum of e^(x - largest). Of nothing: largest is minus infinity, sum 0.
struct ExponentialSum {
    float largest;
    float sum;

    static __device__ __forceinline__ ExponentialSum nothing() { return {__uint_as_float(0xff800000u), 0.0f}; }

    // Minus infinity less itself would be NaN, and 0 is as good a point of reference where there is nothing to sum.
    __device__ __forceinline__ float reference() const { return largest == __uint_as_float(0xff800000u) ? 0.0f : largest; }

    // Takes terms, of which `new_largest` is the largest.
    template <int N>
    __device__ __forceinline__ void add(const float (&values)[N], float new_largest)
    {
        if (new_largest > largest) {
            sum *= expf(largest - new_largest);
            largest = new_largest;
        }
#pragma unroll
        for (int i = 0; i < N; ++i) {
            sum += expf(values[i] - reference());
        }
    }

    __device__ __forceinline__ void add(ExponentialSum other)
    {
        ExponentialSum both = {fmaxf(largest, other.largest), 0.0f};
        float to = both.reference();
        both.sum = sum * expf(reference() - to) + other.sum * expf(other.reference() - to);
        // A term of nothing is 0 whatever its factor, which may be infinite where the reference is far below.
        *this = sum == 0.0f ? other : other.sum == 0.0f ? *this : both;
    }

    // Meets those of the warp; lane 0 has the result.
    __device__ __forceinline__ void add_warp()
    {
#pragma unroll
        for (int distance = kWarp / 2; distance > 0; distance /= 2) {
            add({__shfl_xor_sync(kAllLanes, largest, distance), __shfl_xor_sync(kAllLanes, sum, distance)});
        }
    }
};

}  // namespace mamba
