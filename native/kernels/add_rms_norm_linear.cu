// add_rms_norm_linear.cu: a linear layer over one row, of which the residual sum and its norm may be a part.
//
//   h = residual + x                           kNorm; without, h = x
//   y[o] = bias[o] + scale * sum_i h[i] norm_weight[i] weight[o, i]         scale = 1 / sqrt(mean of h^2 + epsilon)
//
//   x (inputs), may be none with a norm   residual, residual_out (inputs), fp32, not the same   weight (outputs, inputs)   y (outputs)
//
// Weights are floats, or numbers of 8 or 4 bits times scales (see mamba/quantized.cuh).
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
#include "mamba/mma.cuh"
#include "mamba/quantized.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct AddRmsNormLinearParams {
    const void* x;
    const float* residual;
    float* residual_out;  // or null
    const float* norm_weight;
    WeightMatrix weight;
    const float* bias;  // or null
    void* y;
    int outputs;
    int parts;           // of the inputs, each a warp's of a group
    int rounds;          // in which each group has kRows outputs; what is left is spread over all of them
    float epsilon;
};

constexpr int kRowMostParts = 16;
// Stages that may be on their way at once before the kernel before has ended: all of them would make what that one reads wait for theirs.
constexpr int kRowPaceOfNorm = 1;
constexpr int kRowPace = 2;
constexpr int kRowStageLoads = 4;  // of 16 bytes, of a lane in a stage
constexpr int kRowChunk = 8;       // inputs that lie side by side in memory, whatever the weights are

// A lane's inputs, in chunks, and the products of its weights with them: kPieces pieces of kInputs weights of each of kRows rows. Pieces of
// a row lie side by side for the lanes of a warp. Here of floats: a chunk a piece, multiplied as floats.
template <typename T, typename Weight, int kPieces>
struct RowWeights {
    static constexpr int kInputs = kRowChunk;
    static constexpr int kLoads = Stored<Weight, kInputs>::kPieces;  // of 16 bytes, that make a piece
    static constexpr int kRows = kRowStageLoads / kLoads / kPieces;
    static constexpr int kChunks = kPieces;

    float x[kChunks][kRowChunk];

    static __device__ __forceinline__ int chunk(int first, int, int i) { return first + i * kWarp * kInputs; }

    __device__ __forceinline__ void keep(int i, const float (&values)[kRowChunk])
    {
#pragma unroll
        for (int k = 0; k < kRowChunk; ++k) {
            x[i][k] = values[k];
        }
    }

    __device__ __forceinline__ void load_scales(const WeightMatrix&, int, int, int) {}

    // slot(row, piece, load) is where 16 bytes lie.
    template <typename Slot>
    __device__ __forceinline__ void multiply(const Slot& slot, int, float (&sums)[kRows]) const
    {
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            sums[row] = 0.0f;
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                Stored<Weight, kInputs> stored;
#pragma unroll
                for (int load = 0; load < kLoads; ++load) {
                    load_piece<Access::plain>(slot(row, piece, load), stored.pieces[load]);
                }
                float weight[kInputs];
                widen(stored, weight);
#pragma unroll
                for (int i = 0; i < kInputs; ++i) {
                    sums[row] = fmaf(x[piece][i], weight[i], sums[row]);
                }
            }
        }
    }
};

// The same of numbers, by tensor cores, since a number takes two operations to make, but five as a float, and to multiply. A lane has its
// own inputs; so each four lanes are one of eight columns of the right matrix, and of the 8 x 8 products of rows and columns those on the
// diagonal count, which one of the four lanes gets; the rows 8 to 15 of the left matrix are a second row of weights. The sum of a group is
// scaled; with 4 bits the four lanes have read four groups, and exchange words (as in linear_quantized.cu): a chunk of each.
template <typename T, int kBits>
struct RowWeights<T, Quantized<kBits>, 1> {
    static constexpr int kInputs = QuantizedPiece<kBits>::kWeights;
    static constexpr int kLoads = 1;
    static constexpr int kRows = kRowStageLoads;
    static constexpr int kChunks = kInputs / kRowChunk;

    unsigned int x[kChunks][kRowChunk / 2];
    bf16 scales[kRows];  // of the lane's piece

    static __device__ __forceinline__ int chunk(int first, int lane, int i)
    {
        return kBits == 8 ? first + i * kRowChunk : first + (i - lane % 4) * kInputs + lane % 4 * kRowChunk;
    }

    __device__ __forceinline__ void keep(int i, const float (&values)[kRowChunk])
    {
#pragma unroll
        for (int k = 0; k < kRowChunk / 2; ++k) {
            x[i][k] = narrow_pair<T>(values[2 * k], values[2 * k + 1]);
        }
    }

    __device__ __forceinline__ void load_scales(const WeightMatrix& weight, int first_row, int rows, int column)
    {
        int group = min(column, weight.columns - 1) >> weight.group_shift;
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            scales[row] = row < rows ? weight.scales[(first_row + row) * weight.scale_stride + group] : bf16{};
        }
    }

    // One word of each of two rows.
    static __device__ __forceinline__ void multiply_words(
        unsigned int above, unsigned int below, const unsigned int* inputs, float (&products)[4])
    {
        constexpr int kPairs = 16 / kBits;
        unsigned int above_pairs[kPairs];
        unsigned int below_pairs[kPairs];
        number_pairs<T>(above, above_pairs);
        number_pairs<T>(below, below_pairs);
#pragma unroll
        for (int i = 0; i < kPairs; i += 2) {
            const unsigned int a[4] = {above_pairs[i], below_pairs[i], above_pairs[i + 1], below_pairs[i + 1]};
            const unsigned int b[2] = {inputs[i], inputs[i + 1]};
            multiply_accumulate<T>(products, a, b);
        }
    }

    template <typename Slot>
    __device__ __forceinline__ void multiply(const Slot& slot, int lane, float (&sums)[kRows]) const
    {
        bool is_diagonal = lane % 4 == lane / 8;
        int odd = lane / 4 % 2;
#pragma unroll
        for (int row = 0; row < kRows; row += 2) {
            Piece<16> above;
            Piece<16> below;
            load_piece<Access::plain>(slot(row, 0, 0), above);
            load_piece<Access::plain>(slot(row + 1, 0, 0), below);
            float own_scales[2] = {to_float(scales[row]), to_float(scales[row + 1])};
            float both[2] = {};
            if constexpr (kBits == 8) {
                float products[4] = {};
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    multiply_words(above.words[i], below.words[i], x[i / 2] + i % 2 * 2, products);
                }
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    both[i] = (odd != 0 ? products[2 * i + 1] : products[2 * i]) * own_scales[i];
                }
            } else {
                transpose_words(above.words);
                transpose_words(below.words);
#pragma unroll
                for (int group = 0; group < 4; ++group) {
                    float products[4] = {};
                    multiply_words(above.words[group], below.words[group], x[group], products);
                    int reader = (lane & ~3) + group;
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        both[i] = fmaf(odd != 0 ? products[2 * i + 1] : products[2 * i], __shfl_sync(kAllLanes, own_scales[i], reader), both[i]);
                    }
                }
            }
            sums[row] = is_diagonal ? both[0] : 0.0f;
            sums[row + 1] = is_diagonal ? both[1] : 0.0f;
        }
    }
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

template <typename T, typename TY, typename Weight, int kPieces, int kStages, bool kNorm>
__global__ void __launch_bounds__(512, 2) add_rms_norm_linear(const __grid_constant__ AddRmsNormLinearParams p)
{
    using Weights = RowWeights<T, Weight, kPieces>;
    constexpr int kLoads = Weights::kLoads;
    constexpr int kRows = Weights::kRows;
    constexpr int kChunks = Weights::kChunks;
    extern __shared__ __align__(16) uint4 row_ring[];  // (stage, load, thread), then sums (group, output, part)
    __shared__ float squares[kRowMostParts];

    int lane = static_cast<int>(threadIdx.x) % kWarp;
    int warp = static_cast<int>(threadIdx.x) / kWarp;
    int part = warp % p.parts;
    int group = warp / p.parts;
    int groups = static_cast<int>(blockDim.x) / kWarp / p.parts;
    int inputs = p.weight.columns;
    int first_input = (part * kPieces * kWarp + lane) * Weights::kInputs;
    RowOutputs<kRows> outputs(p, static_cast<int>(blockIdx.x) * groups + group, static_cast<int>(gridDim.x) * groups);

    int threads = static_cast<int>(blockDim.x);
    uint4* own_ring = row_ring + threadIdx.x;
    float* row_sums = reinterpret_cast<float*>(row_ring + kStages * kRowStageLoads * threads);
    auto slot = [&](int stage, int row, int piece, int load) {
        return own_ring + (stage * kRowStageLoads + (row * kPieces + piece) * kLoads + load) * threads;
    };
    // Fetches the rows of a round; beyond the last output and the inputs there are zeros.
    constexpr int kPieceBytes = 16 * kLoads;
    const unsigned char* own_weights = p.weight.values + (part * kPieces * kWarp + lane) * kPieceBytes;
    auto fetch = [&](int round, int stage) {
        const unsigned char* weights = own_weights + outputs.first(round) * p.weight.row_bytes;
        int count = outputs.count(round);
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                bool there = row < count && first_input + piece * kWarp * Weights::kInputs < inputs;
#pragma unroll
                for (int load = 0; load < kLoads; ++load) {
                    async_copy_16(slot(stage, row, piece, load), weights + piece * kWarp * kPieceBytes + load * 16, there ? 16 : 0);
                }
            }
            weights += p.weight.row_bytes;
        }
        async_commit();
    };
    Weights weights;
    auto load_scales = [&](int round) { weights.load_scales(p.weight, outputs.first(round), outputs.count(round), first_input); };
#pragma unroll
    for (int stage = 0; stage < kStages; ++stage) {
        fetch(stage, stage);
        async_wait<kNorm ? kRowPaceOfNorm : kRowPace>();
    }
    load_scales(0);
    // The sum that this thread is to end, found while there is time.
    int group_sums = (p.rounds + 1) * kRows;
    auto output_of_sum = [&](int i) {
        RowOutputs<kRows> its(p, static_cast<int>(blockIdx.x) * groups + i / group_sums, static_cast<int>(gridDim.x) * groups);
        int round = i % group_sums / kRows;
        return i < groups * group_sums && i % kRows < its.count(round) ? its.first(round) + i % kRows : -1;
    };
    int first_end = output_of_sum(static_cast<int>(threadIdx.x));
    // The norm's weights: more than two chunks of them are not held, but brought near.
    constexpr bool kHoldsNorm = kNorm && kChunks <= 2;
    float norm_weight[kChunks][kRowChunk];
#pragma unroll
    for (int i = 0; kNorm && i < kChunks; ++i) {
        int column = Weights::chunk(first_input, lane, i);
        if (column < inputs) {
            if constexpr (kHoldsNorm) {
                load(p.norm_weight + column, norm_weight[i]);
            } else {
                prefetch(p.norm_weight + column);
            }
        }
    }

    wait_for_earlier_grids();
    float sum_of_squares = 0.0f;
#pragma unroll
    for (int i = 0; i < kChunks; ++i) {
        float x[kRowChunk] = {};
        int column = Weights::chunk(first_input, lane, i);
        if (column < inputs) {
            if (!kNorm || p.x != nullptr) {
                load(static_cast<const T*>(p.x) + column, x);
            }
            if constexpr (kNorm) {
                float residual[kRowChunk];
                load(p.residual + column, residual);
#pragma unroll
                for (int k = 0; k < kRowChunk; ++k) {
                    x[k] = residual[k] + x[k];
                    sum_of_squares = fmaf(x[k], x[k], sum_of_squares);
                }
                if (p.residual_out != nullptr && group == 0 && static_cast<int>(blockIdx.x) == part % static_cast<int>(gridDim.x)) {
                    store(p.residual_out + column, x);
                }
                if constexpr (!kHoldsNorm) {
                    load(p.norm_weight + column, norm_weight[i]);
                }
#pragma unroll
                for (int k = 0; k < kRowChunk; ++k) {
                    x[k] *= norm_weight[i][k];
                }
            }
        }
        weights.keep(i, x);
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
        weights.multiply([&](int row, int piece, int load) { return slot(stage, row, piece, load); }, lane, sums);
        load_scales(round + 1);
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
        scale = 1.0f / sqrtf(sum / static_cast<float>(inputs) + p.epsilon);
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
