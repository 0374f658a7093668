// log_probabilities.cu: the logarithm of the probability that softmax gives to one token of each row.
//
//   output[r] = logits[r, id] - log(sum over v of e^logits[r, v])        logits (rows, vocabulary), fp32   token_ids, output (rows)
//
// One block a row, one pass: each thread keeps the largest logit that it has met and the sum of e^(logit - largest), rescaled when a larger
// one comes; then the threads' pairs meet in a fixed order. Reading the logits is the limit. NaN, and plus infinity, make the result NaN, as
// the formula has it; minus infinity is a token without probability. A token that is not in the vocabulary is reported.
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct LogProbabilitiesParams {
    const float* logits;
    const int* token_ids;
    float* output;
    Fault* fault;
    long long logits_stride;
    long long token_ids_stride;
    long long output_stride;
    int vocabulary;
};

// sum of e^(x - largest). Of nothing: largest is minus infinity, sum 0.
struct ExponentialSum {
    float largest;
    float sum;

    // Minus infinity less itself would be NaN, and 0 is as good a point of reference where there is nothing to sum.
    __device__ __forceinline__ float reference() const { return largest == __uint_as_float(0xff800000u) ? 0.0f : largest; }

    __device__ __forceinline__ void add(ExponentialSum other)
    {
        float new_largest = fmaxf(largest, other.largest);
        ExponentialSum both = {new_largest, 0.0f};
        float to = both.reference();
        both.sum = sum * expf(reference() - to) + other.sum * expf(other.reference() - to);
        // A term of nothing is 0 whatever its factor, which may be infinite where the reference is far below.
        *this = sum == 0.0f ? other : other.sum == 0.0f ? *this : both;
    }
};

template <bool kAligned>
__global__ void __launch_bounds__(512) log_probabilities(const __grid_constant__ LogProbabilitiesParams p)
{
    constexpr int kVec = 4;
    __shared__ ExponentialSum partial_sums[32];
    long long row = blockIdx.x;
    const float* logits = p.logits + row * p.logits_stride;
    wait_for_earlier_grids();
    int id = p.token_ids[row * p.token_ids_stride];
    if (id < 0 || id >= p.vocabulary) {
        report(p.fault, FaultKind::token_id, row, id);
        return;
    }

    ExponentialSum total = {__uint_as_float(0xff800000u), 0.0f};
#pragma unroll 4
    for (int first = static_cast<int>(threadIdx.x) * kVec; first < p.vocabulary; first += static_cast<int>(blockDim.x) * kVec) {
        float values[kVec];
        int count = p.vocabulary - first;
        if (count >= kVec) {
            load_row<kAligned>(logits + first, kVec, values);
        } else {
            load_elements(logits + first, count, values);
#pragma unroll
            for (int i = 0; i < kVec; ++i) {
                values[i] = i < count ? values[i] : __uint_as_float(0xff800000u);
            }
        }
        float largest = fmaxf(fmaxf(values[0], values[1]), fmaxf(values[2], values[3]));
        if (largest > total.largest) {
            total.sum *= expf(total.largest - largest);
            total.largest = largest;
        }
        float reference = total.reference();
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            total.sum += expf(values[i] - reference);
        }
    }

    let_next_grid_start();
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        total.add({__shfl_xor_sync(kAllLanes, total.largest, distance), __shfl_xor_sync(kAllLanes, total.sum, distance)});
    }
    if (threadIdx.x % kWarp == 0) {
        partial_sums[threadIdx.x / kWarp] = total;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < static_cast<int>(blockDim.x) / kWarp; ++warp) {
            total.add(partial_sums[warp]);
        }
        p.output[row * p.output_stride] = (logits[id] - total.largest) - logf(total.sum);
    }
}

}  // namespace mamba
