// reductions.cuh: sums and largest values over a warp and over a block, the terms always met in the same order.
//
// lane_sums adds over some lanes of a warp only, several values at once. In the others every thread of the block takes part and gets the
// result. The order depends on the number of threads alone, so that results repeat bit for
// bit. A block has a whole number of warps.
#pragma once

namespace mamba {

constexpr int kWarp = 32;
constexpr unsigned int kAllLanes = 0xffffffffu;

struct Sum {
    template <typename T>
    __device__ __forceinline__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

// NaN is lost against a number, as fmaxf has it.
struct Largest {
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <typename T, typename Operation>
__device__ __forceinline__ T warp_reduce(T value, Operation operation)
{
    // Each lane meets its partner's value with its own; for an operation that commutes, all lanes end with the same bits.
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        value = operation(value, __shfl_xor_sync(kAllLanes, value, distance));
    }
    return value;
}

// `scratch` holds one T a warp. It may be used again after the next barrier of the block.
template <typename T, typename Operation>
__device__ __forceinline__ T block_reduce(T value, T* scratch, Operation operation)
{
    int warps = static_cast<int>(blockDim.x) / kWarp;
    value = warp_reduce(value, operation);
    if (warps == 1) {
        return value;
    }
    int lane = static_cast<int>(threadIdx.x) % kWarp;
    if (lane == 0) {
        scratch[static_cast<int>(threadIdx.x) / kWarp] = value;
    }
    __syncthreads();
    // Every thread walks the partial results itself: broadcasts from shared memory, and no second barrier.
    T result = scratch[0];
    for (int warp = 1; warp < warps; ++warp) {
        result = operation(result, scratch[warp]);
    }
    return result;
}

// Sums of kValues values over kLanes lanes that lie kStride apart, by a butterfly that transposes: in every round a lane gives away the
// half of its values that it does not keep, kLanes - 1 shuffles for kLanes values. Lane `number` of them is left the sums from
// number * kValues / kLanes on, at the front of `values`; where there are more lanes than values, kLanes / kValues neighbours are left the
// same one. Returns the first.
template <int kValues, int kLanes, int kStride>
__device__ __forceinline__ float lane_sums(float* values, int number)
{
    if constexpr (kLanes > 1) {
        constexpr int kDistance = kLanes / 2;
        if constexpr (kValues > 1) {
            constexpr int kKept = kValues / 2;
            bool upper = (number & kDistance) != 0;
#pragma unroll
            for (int i = 0; i < kKept; ++i) {
                float given = upper ? values[i] : values[i + kKept];
                float kept = upper ? values[i + kKept] : values[i];
                values[i] = kept + __shfl_xor_sync(kAllLanes, given, kDistance * kStride);
            }
            return lane_sums<kKept, kDistance, kStride>(values, number);
        } else {
            values[0] += __shfl_xor_sync(kAllLanes, values[0], kDistance * kStride);
            return lane_sums<1, kDistance, kStride>(values, number);
        }
    }
    return values[0];
}

__device__ __forceinline__ float warp_sum(float value) { return warp_reduce(value, Sum()); }

__device__ __forceinline__ float warp_max(float value) { return warp_reduce(value, Largest()); }

__device__ __forceinline__ float block_sum(float value, float* scratch) { return block_reduce(value, scratch, Sum()); }

// Two sums behind one barrier; each has the bits that block_sum gives. `scratch` holds two floats a warp.
__device__ __forceinline__ void block_sums(float& first, float& second, float (*scratch)[2])
{
    int warps = static_cast<int>(blockDim.x) / kWarp;
    first = warp_sum(first);
    second = warp_sum(second);
    if (warps == 1) {
        return;
    }
    int lane = static_cast<int>(threadIdx.x) % kWarp;
    if (lane == 0) {
        scratch[static_cast<int>(threadIdx.x) / kWarp][0] = first;
        scratch[static_cast<int>(threadIdx.x) / kWarp][1] = second;
    }
    __syncthreads();
    first = scratch[0][0];
    second = scratch[0][1];
    for (int warp = 1; warp < warps; ++warp) {
        first += scratch[warp][0];
        second += scratch[warp][1];
    }
}

__device__ __forceinline__ float block_max(float value, float* scratch) { return block_reduce(value, scratch, Largest()); }

}  // namespace mamba
