// log_probabilities.cu: the logarithm of the probability that softmax gives to one token of each row.
//
//   output[r] = logits[r, id] - log(sum over v of e^logits[r, v])        logits (rows, vocabulary), fp32   token_ids, output (rows)
//
// One block a row, one pass (see mamba/exponential_sum.cuh). Reading the logits is the limit. A token that is not in the vocabulary is
// reported.
#include "mamba/exponential_sum.cuh"
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"

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

    ExponentialSum total = ExponentialSum::of_nothing();
#pragma unroll 4
    for (int first = static_cast<int>(threadIdx.x) * kVec; first < p.vocabulary; first += static_cast<int>(blockDim.x) * kVec) {
        float values[kVec];
        load_exponents<kAligned>(logits, first, p.vocabulary, values);
        total.add_terms(values);
    }

    let_next_grid_start();
    total = block_sum(total, partial_sums);
    if (threadIdx.x == 0) {
        p.output[row * p.output_stride] = (logits[id] - total.largest) - logf(total.sum);
    }
}

}  // namespace mamba
