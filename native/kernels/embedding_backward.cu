// embedding_backward.cu: the gradient of the embedding table.
//
//   grad_weight[token_ids[t], :] += grad_output[t, :], in the order of t
//
//   token_ids (tokens)   grad_output (tokens, channels), fp32   grad_weight (vocabulary, channels), fp32
//
// A block owns `ids` neighbouring rows of the table and one slice of their columns, kVec a thread; so nobody else writes there, and rows
// are added in the order of the tokens without an atomic. It looks through all tokens, a tile at a time: ballots and a prefix sum list
// those that are its own, in their order, and the list is walked with the sum of the current row in registers, the next rows already under
// way. Rows without a token are not touched.
//
// Where the table is small, blocks also share the tokens among them: each then has a part of the sums, from zero, which partial_sums adds
// up in order.
//
// Memory is the limit: 4 bytes for an element of grad_output, 8 for one of each row that has tokens; the token ids, which every block
// reads, come from the L2. A row that has many of the tokens is one block's work: then it is the latency of the loads, of which more are
// under way with one column a thread. A token that is not in the vocabulary is reported (see mamba/faults.cuh) and left out.
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct EmbeddingBackwardParams {
    const int* token_ids;
    const float* grad_output;
    float* grad_weight;  // or (parts, vocabulary, channels)
    Fault* fault;
    long long tokens;
    long long part_tokens;  // of a block along z: a number of tiles, or all
    long long part_stride;
    long long token_ids_stride;
    long long grad_output_stride;
    long long grad_weight_stride;
    long long vocabulary;
    int ids;  // rows of the table that a block owns
    int channels;
};

template <int kVec>
__global__ void __launch_bounds__(256) embedding_backward(const __grid_constant__ EmbeddingBackwardParams p)
{
    constexpr int kThreads = 256;
    constexpr int kWarps = kThreads / kWarp;
    constexpr int kTokens = 8;  // of a thread and tile
    constexpr int kTile = kThreads * kTokens;
    constexpr int kAhead = 32 / kVec;  // rows under way, as many as leave a block its registers
    static_assert(kTokens * kWarps == 2 * kWarp, "one warp makes the prefix sum, two counts a lane");

    __shared__ int counts[kTokens * kWarps];  // of a warp's matches, then of all before them
    __shared__ int matches;
    __shared__ int first_bad;
    __shared__ int own_ids[kTile];
    __shared__ int own_tokens[kTile];  // within the tile

    int thread = static_cast<int>(threadIdx.x);
    int lane = thread % kWarp;
    int warp = thread / kWarp;
    long long first_id = static_cast<long long>(blockIdx.x) * p.ids;
    int end = static_cast<int>(min(static_cast<long long>(p.ids), p.vocabulary - first_id));
    int column = (static_cast<int>(blockIdx.y) * kThreads + thread) * kVec;
    bool has_columns = column < p.channels;
    bool reports = blockIdx.x == 0 && blockIdx.y == 0;
    const float* grad_output = p.grad_output + column;
    float* grad_weight = p.grad_weight + blockIdx.z * p.part_stride + first_id * p.grad_weight_stride + column;
    long long first_token = blockIdx.z * p.part_tokens;
    long long end_token = min(first_token + p.part_tokens, p.tokens);

    int current = -1;
    float sum[kVec];
    if (thread == 0) {
        first_bad = kTile;
    }
    wait_for_earlier_grids();
    let_next_grid_start();
    if (gridDim.z > 1 && has_columns) {
        float zero[kVec] = {};
        for (int id = 0; id < end; ++id) {
            store(grad_weight + id * p.grad_weight_stride, zero);
        }
    }
    for (long long tile = first_token; tile < end_token; tile += kTile) {
        int left = static_cast<int>(min(static_cast<long long>(kTile), end_token - tile));
        long long ids[kTokens];
#pragma unroll
        for (int i = 0; i < kTokens; ++i) {
            int token = i * kThreads + thread;
            ids[i] = token < left ? p.token_ids[(tile + token) * p.token_ids_stride] : -1;
        }
        // Behind the walk of the last tile, which reads the list.
        __syncthreads();
        unsigned int owners[kTokens];
#pragma unroll
        for (int i = 0; i < kTokens; ++i) {
            int token = i * kThreads + thread;
            if (reports && token < left && (ids[i] < 0 || ids[i] >= p.vocabulary)) {
                atomicMin(&first_bad, token);
            }
            ids[i] -= first_id;
            owners[i] = __ballot_sync(kAllLanes, token < left && ids[i] >= 0 && ids[i] < end);
            if (lane == 0) {
                counts[i * kWarps + warp] = __popc(owners[i]);
            }
        }
        __syncthreads();
        if (warp == 0) {
            int even = counts[2 * lane];
            int odd = counts[2 * lane + 1];
            int total = even + odd;
#pragma unroll
            for (int distance = 1; distance < kWarp; distance *= 2) {
                int below = __shfl_up_sync(kAllLanes, total, distance);
                total += lane >= distance ? below : 0;
            }
            counts[2 * lane] = total - even - odd;
            counts[2 * lane + 1] = total - odd;
            if (lane == kWarp - 1) {
                matches = total;
            }
        }
        __syncthreads();
        if (reports && thread == 0 && first_bad < kTile) {
            report(p.fault, FaultKind::token_id, tile + first_bad, p.token_ids[(tile + first_bad) * p.token_ids_stride]);
            first_bad = kTile;
        }
#pragma unroll
        for (int i = 0; i < kTokens; ++i) {
            if ((owners[i] >> lane & 1u) != 0) {
                int place = counts[i * kWarps + warp] + __popc(owners[i] & ((1u << lane) - 1u));
                own_ids[place] = static_cast<int>(ids[i]);
                own_tokens[place] = i * kThreads + thread;
            }
        }
        __syncthreads();
        if (!has_columns) {
            continue;
        }
        for (int first = 0; first < matches; first += kAhead) {
            Stored<float, kVec> rows[kAhead];
#pragma unroll
            for (int i = 0; i < kAhead; ++i) {
                if (first + i < matches) {
                    load(grad_output + (tile + own_tokens[first + i]) * p.grad_output_stride, rows[i]);
                }
            }
#pragma unroll
            for (int i = 0; i < kAhead; ++i) {
                if (first + i < matches) {
                    int id = own_ids[first + i];
                    if (id != current) {
                        if (current >= 0) {
                            store(grad_weight + current * p.grad_weight_stride, sum);
                        }
                        load(grad_weight + id * p.grad_weight_stride, sum);
                        current = id;
                    }
                    float row[kVec];
                    widen(rows[i], row);
#pragma unroll
                    for (int j = 0; j < kVec; ++j) {
                        sum[j] += row[j];
                    }
                }
            }
        }
    }
    if (current >= 0) {
        store(grad_weight + current * p.grad_weight_stride, sum);
    }
}

}  // namespace mamba
