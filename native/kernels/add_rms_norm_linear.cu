// add_rms_norm_linear.cu: a linear layer over one row, of which the residual sum and its norm may be a part.
//
//   h = residual + x                           kNorm; without, h = x
//   y[o] = bias[o] + scale * sum_i h[i] norm_weight[i] weight[o, i]         scale = 1 / sqrt(mean of h^2 + epsilon)
//
//   x (inputs), may be none with a norm   residual, residual_out (inputs), fp32, not the same   weight (outputs, inputs)   y (outputs)
//
// The time is that of reading the weights, so they are read as a stream that nothing interrupts. One block a multiprocessor; its warps are
// groups, a group has some outputs at a time, and each of its warps a part of the inputs: those of x stay in its registers, and the weights
// of some rows are always on their way to shared memory, where a lane reads what it has fetched itself, so that nobody waits for anybody.
// All groups go through the weight side by side: ranges of their own cost a third of the bandwidth.
// Every block makes the sum and its norm anew, which costs nothing beside waiting for another kernel to do so; the scale is multiplied at
// the end.
// What memory does while one kernel ends and the next begins decides the rest. The first weights are fetched before the kernel before this
// one has ended, and the next kernel is let start when the last weights are on their way: earlier, it would take from this one what it
// gains. kStages says how much may wait in shared memory: more behind kernels that leave memory idle (mixer_step.cu).
// Phases: 1. the first weights   2. x, and the squares of h   3. rows: products, the lanes' sums, the next weights   4. sums of a row's parts
#include "mamba/async_copy.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct AddRmsNormLinearParams {
    const void* x;
    const float* residual;
    float* residual_out;  // or null
    const float* norm_weight;
    const void* weight;
    const float* bias;  // or null
    void* y;
    long long weight_stride;
    int inputs;
    int outputs;
    int parts;           // of the inputs, each a warp's of a group
    int rounds;          // in which each group has kRows outputs; what is left is spread over all of them
    float epsilon;
};

constexpr int kRowPiece = 8;  // inputs that lie side by side for a lane
constexpr int kRowMostParts = 16;
// Stages that may be on their way at once before the kernel before has ended: all of them would make what that one reads wait for theirs.
constexpr int kRowPaceOfNorm = 1;
constexpr int kRowPace = 2;
constexpr int kRowStageLoads = 4;  // of 16 bytes, of a lane in a stage

// The inputs of a lane: kPieces pieces, which lie 32 pieces apart.
template <int kPieces>
struct RowInputs {
    int first;
    int inputs;

    __device__ __forceinline__ RowInputs(int part, int lane, int all)
        : first((part * kPieces * kWarp + lane) * kRowPiece)
        , inputs(all)
    {
    }

    __device__ __forceinline__ int column(int piece) const { return first + piece * kWarp * kRowPiece; }

    __device__ __forceinline__ bool has(int piece) const { return column(piece) < inputs; }
};

// The outputs of a group: kRows of each round beside those of the others, and at last its share of fewer than kRows for each.
template <int kRows>
struct RowOutputs {
    int group;
    int groups;
    int rounds;
    int rest;
    int share;

    __device__ __forceinline__ RowOutputs(const AddRmsNormLinearParams& p, int number, int all)
        : group(number)
        , groups(all)
        , rounds(p.rounds)
    {
        int left = p.outputs - rounds * groups * kRows;
        rest = left * group / groups;
        share = left * (group + 1) / groups - rest;
    }

    __device__ __forceinline__ int first(int round) const
    {
        return round * groups * kRows + (round < rounds ? group * kRows : rest);
    }

    __device__ __forceinline__ int count(int round) const { return round < rounds ? kRows : round == rounds ? share : 0; }
};

template <typename T, typename TY, int kPieces, int kStages, bool kNorm>
__global__ void __launch_bounds__(512, 2) add_rms_norm_linear(const __grid_constant__ AddRmsNormLinearParams p)
{
    using Piece = Stored<T, kRowPiece>;
    constexpr int kLoads = Piece::kPieces;  // of 16 bytes, that make a piece
    constexpr int kRows = kRowStageLoads / kLoads / kPieces;
    extern __shared__ __align__(16) uint4 row_ring[];  // (stage, load, thread), then sums (group, output, part)
    __shared__ float squares[kRowMostParts];

    int lane = static_cast<int>(threadIdx.x) % kWarp;
    int warp = static_cast<int>(threadIdx.x) / kWarp;
    int part = warp % p.parts;
    int group = warp / p.parts;
    int groups = static_cast<int>(blockDim.x) / kWarp / p.parts;
    RowInputs<kPieces> own(part, lane, p.inputs);
    RowOutputs<kRows> outputs(p, static_cast<int>(blockIdx.x) * groups + group, static_cast<int>(gridDim.x) * groups);

    int threads = static_cast<int>(blockDim.x);
    uint4* own_ring = row_ring + threadIdx.x;
    float* row_sums = reinterpret_cast<float*>(row_ring + kStages * kRowStageLoads * threads);
    auto slot = [&](int stage, int row, int piece, int load) {
        return own_ring + (stage * kRowStageLoads + (row * kPieces + piece) * kLoads + load) * threads;
    };
    // Fetches the rows of a round; beyond the last output and the inputs there are zeros.
    auto fetch = [&](int round, int stage) {
        const T* weights = static_cast<const T*>(p.weight) + outputs.first(round) * p.weight_stride;
        int count = outputs.count(round);
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
                for (int load = 0; load < kLoads; ++load) {
                    bool there = row < count && own.has(piece);
                    async_copy_16(
                        slot(stage, row, piece, load), weights + own.column(piece) + load * (kRowPiece / kLoads), there ? 16 : 0);
                }
            }
            weights += p.weight_stride;
        }
        async_commit();
    };
#pragma unroll
    for (int stage = 0; stage < kStages; ++stage) {
        fetch(stage, stage);
        async_wait<kNorm ? kRowPaceOfNorm : kRowPace>();
    }
    // The sum that this thread is to end, found while there is time.
    int group_sums = (p.rounds + 1) * kRows;
    auto output_of_sum = [&](int i) {
        RowOutputs<kRows> its(p, static_cast<int>(blockIdx.x) * groups + i / group_sums, static_cast<int>(gridDim.x) * groups);
        int round = i % group_sums / kRows;
        return i < groups * group_sums && i % kRows < its.count(round) ? its.first(round) + i % kRows : -1;
    };
    int first_end = output_of_sum(static_cast<int>(threadIdx.x));
    float norm_weight[kPieces][kRowPiece];
#pragma unroll
    for (int piece = 0; kNorm && piece < kPieces; ++piece) {
        if (own.has(piece)) {
            load(p.norm_weight + own.column(piece), norm_weight[piece]);
        }
    }

    wait_for_earlier_grids();
    float x[kPieces][kRowPiece];
    float sum_of_squares = 0.0f;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
        for (int i = 0; i < kRowPiece; ++i) {
            x[piece][i] = 0.0f;
        }
        if (!own.has(piece)) {
            continue;
        }
        int column = own.column(piece);
        if (!kNorm || p.x != nullptr) {
            load(static_cast<const T*>(p.x) + column, x[piece]);
        }
        if constexpr (kNorm) {
            float residual[kRowPiece];
            load(p.residual + column, residual);
#pragma unroll
            for (int i = 0; i < kRowPiece; ++i) {
                x[piece][i] = residual[i] + x[piece][i];
                sum_of_squares = fmaf(x[piece][i], x[piece][i], sum_of_squares);
            }
            if (p.residual_out != nullptr && group == 0 && static_cast<int>(blockIdx.x) == part % static_cast<int>(gridDim.x)) {
                store(p.residual_out + column, x[piece]);
            }
#pragma unroll
            for (int i = 0; i < kRowPiece; ++i) {
                x[piece][i] *= norm_weight[piece][i];
            }
        }
    }
    if (kNorm && group == 0) {
        sum_of_squares = warp_sum(sum_of_squares);
        if (lane == 0) {
            squares[part] = sum_of_squares;
        }
    }

    int stage = 0;
    for (int round = 0; round <= p.rounds; ++round) {
        async_wait<kStages - 1>();
        float sums[kRows];
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            sums[row] = 0.0f;
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                Piece stored;
#pragma unroll
                for (int load = 0; load < kLoads; ++load) {
                    load_piece<Access::plain>(slot(stage, row, piece, load), stored.pieces[load]);
                }
                float weight[kRowPiece];
                widen(stored, weight);
#pragma unroll
                for (int i = 0; i < kRowPiece; ++i) {
                    sums[row] = fmaf(x[piece][i], weight[i], sums[row]);
                }
            }
        }
        fetch(round + kStages, stage);
        if (round + kStages >= p.rounds) {
            let_next_grid_start();
        }
        stage = stage + 1 < kStages ? stage + 1 : 0;
        float sum = lane_sums<kRows, kWarp, 1>(sums, lane);
        int of_lane = lane / (kWarp / kRows);
        if (lane % (kWarp / kRows) == 0) {
            row_sums[((group * (p.rounds + 1) + round) * kRows + of_lane) * p.parts + part] = sum;
        }
    }
    __syncthreads();

    float scale = 1.0f;
    if constexpr (kNorm) {
        float sum = 0.0f;
        for (int i = 0; i < p.parts; ++i) {
            sum += squares[i];
        }
        scale = 1.0f / sqrtf(sum / static_cast<float>(p.inputs) + p.epsilon);
    }
    for (int i = static_cast<int>(threadIdx.x); i < groups * group_sums; i += threads) {
        int output = i < threads ? first_end : output_of_sum(i);
        if (output >= 0) {
            float sum = 0.0f;
            for (int k = 0; k < p.parts; ++k) {
                sum += row_sums[i * p.parts + k];
            }
            float bias = p.bias != nullptr ? p.bias[output] : 0.0f;
            static_cast<TY*>(p.y)[output] = from_float<TY>(fmaf(sum, scale, bias));
        }
    }
}

}  // namespace mamba
