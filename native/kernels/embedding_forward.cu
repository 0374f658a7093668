// embedding_forward.cu: a row of the embedding table for every token, widened to fp32: the start of the residual stream.
//
//   output[t, :] = weight[token_ids[t], :]        weight (vocabulary, channels)   token_ids (tokens)   output (tokens, channels), fp32
//
// One block a token, kVec channels a thread and step. A token that is not in the vocabulary is reported (see mamba/faults.cuh) and its row
// left as it is.
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct EmbeddingForwardParams {
    const int* token_ids;
    const void* weight;
    float* output;
    Fault* fault;
    long long token_ids_stride;
    long long vocabulary;
    long long weight_stride;
    long long output_stride;
    int channels;
};

template <typename T, int kVec>
__global__ void __launch_bounds__(256) embedding_forward(const __grid_constant__ EmbeddingForwardParams p)
{
    long long token = blockIdx.x;
    wait_for_earlier_grids();
    int id = p.token_ids[token * p.token_ids_stride];
    let_next_grid_start();
    if (id < 0 || id >= p.vocabulary) {
        report(p.fault, FaultKind::token_id, token, id);
        return;
    }
    const T* row = static_cast<const T*>(p.weight) + id * p.weight_stride;
    float* output = p.output + token * p.output_stride;
    for (int channel = static_cast<int>(threadIdx.x) * kVec; channel < p.channels; channel += static_cast<int>(blockDim.x) * kVec) {
        float values[kVec];
        load(row + channel, values);
        store(output + channel, values);
    }
}

}  // namespace mamba
