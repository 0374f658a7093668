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
#include "mamba/fast_math.cuh"
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

constexpr int kRowMostParts = 16;  // and warps
// Stages that may be on their way at once before the kernel before has ended: all of them would make what that one reads wait for theirs.
constexpr int kRowPaceOfNorm = 1;
constexpr int kRowPace = 2;
constexpr int kRowStageLoads = 4;  // of 16 bytes, of a lane in a stage

// Where a warp's weights of a round lie in shared memory: 16 bytes of each lane side by side, then the next of them `stride` on.
struct RowStage {
    const uint4* weights;
    const unsigned int* scales;
    int stride;
};

// A lane's inputs, in chunks, and the products of its weights with them: kPieces pieces of kInputs weights of each of kRows rows. Pieces of
// a row lie side by side for the lanes of a warp. Here of floats: a chunk a piece, multiplied as floats.
template <typename T, typename Weight, int kPieces>
struct RowWeights {
    static constexpr int kInputs = 8;
    static constexpr int kLoads = Stored<Weight, kInputs>::kPieces;  // of 16 bytes, that make a piece
    static constexpr int kRows = kRowStageLoads / kLoads / kPieces;
    static constexpr int kChunks = kPieces;
    static constexpr int kChunk = kInputs;  // inputs that lie side by side in memory
    static constexpr int kChunksAtOnce = 1;
    static constexpr int kScaleWords = 0;
    static constexpr int kMostWarps = kRowMostParts;

    int lane;
    float x[kChunks][kChunk];

    __device__ __forceinline__ RowWeights(const WeightMatrix&, int, int its_lane) : lane(its_lane) {}

    // Where a lane's 16 bytes go among those of the warp.
    static __device__ __forceinline__ int slot(int its_lane) { return its_lane; }

    __device__ __forceinline__ int chunk(int first, int i) const { return first + (i * kWarp + lane) * kInputs; }

    __device__ __forceinline__ void keep(int i, const float (&values)[kChunk])
    {
#pragma unroll
        for (int k = 0; k < kChunk; ++k) {
            x[i][k] = values[k];
        }
    }

    __device__ __forceinline__ void finish() {}

    __device__ __forceinline__ void fetch_scales(const WeightMatrix&, int, int, unsigned int*) const {}

    __device__ __forceinline__ void multiply(const RowStage& stage, float (&sums)[kRows]) const
    {
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            sums[row] = 0.0f;
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                Stored<Weight, kInputs> stored;
#pragma unroll
                for (int load = 0; load < kLoads; ++load) {
                    load_piece<Access::plain>(stage.weights + ((row * kPieces + piece) * kLoads + load) * stage.stride + lane, stored.pieces[load]);
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

// The same of numbers, by tensor cores for bytes, which take them as they are; to make floats of them costs more than to read them. So each
// input is a fixed-point number of 16 bits, two bytes: of the greatest of four lanes' inputs, to which bf16 would have rounded no better.
// The left matrix has in row i what lanes 4 i to 4 i + 3 have fetched of a row of weights, in row i + 8 the same of the next row; the right
// one has their inputs in column i: so of the 8 x 8 products those on the diagonal count, which one of the four lanes gets. Sums of a group
// are whole numbers, and exact, until they are scaled. A lane is given word lane % 4 of what each of the four has fetched: with 8 bits of
// one group, with 4 of four groups.
template <typename T, int kBits>
struct RowWeights<T, Quantized<kBits>, 1> {
    static constexpr int kInputs = QuantizedPiece<kBits>::kWeights;
    static constexpr int kLoads = 1;
    static constexpr int kRows = kRowStageLoads;
    static constexpr int kChunks = 4;          // one of each of the four lanes' pieces
    static constexpr int kChunk = 32 / kBits;  // a word
    static constexpr int kChunksAtOnce = kBits / 2;
    static constexpr int kGroups = kBits == 8 ? 1 : 4;
    static constexpr int kWords = kInputs / 4;  // of one byte of all inputs
    // The scales of a row's part, two in a word; and of all rows.
    static constexpr int kRowScaleWords = kWarp * kInputs / (kBits == 8 ? 64 : 32) / 2;
    static constexpr int kScaleWords = kRows * kRowScaleWords;
    static constexpr int kMostWarps = 12;  // more registers for each; rows have fewer parts
    static constexpr float kNumberUnit = kBits == 8 ? 1.0f : 1.0f / 16.0f;  // numbers of 4 bits are the upper halves of bytes

    int lane;
    int matrix_row;     // where the row that this lane names of the first two pairs of matrices lies in a stage: its place and row of weights
    int matrix_weight;
    int group[kGroups];  // where a group's scale lies among those of the part
    const bf16* scales;  // the first that this lane fetches, of row 0
    int scale_bytes;     // of them, that are there
    float inputs[kChunks][kChunk];  // until they are made fixed
    unsigned int upper[kWords];
    unsigned int lower[kWords];
    float unit;  // of a product that counts; of others 0

    __device__ __forceinline__ RowWeights(const WeightMatrix& weight, int first_column, int its_lane) : lane(its_lane)
    {
        int four = lane % 8;
        matrix_row = slot(four * 4 + lane / 16);
        matrix_weight = lane / 8 % 2;
        int first = first_column >> weight.group_shift;
#pragma unroll
        for (int i = 0; i < kGroups; ++i) {
            group[i] = (min(first_column + (lane / 4 * 4 + i) * kInputs, weight.columns - 1) >> weight.group_shift) - first;
        }
        int word = lane % kRowScaleWords;
        scales = weight.scales + lane / kRowScaleWords * weight.scale_stride + first + 2 * word;
        scale_bytes = min(max(((weight.columns - 1) >> weight.group_shift) + 1 - first - 2 * word, 0), 2) * 2;
    }

    // So that the eight rows of a matrix, which lie four places apart, are in different banks.
    static __device__ __forceinline__ int slot(int its_lane) { return its_lane ^ (its_lane / 8); }

    __device__ __forceinline__ int chunk(int first, int i) const { return first + (lane / 4 * 4 + i) * kInputs + lane % 4 * kChunk; }

    __device__ __forceinline__ void keep(int i, const float (&values)[kChunk])
    {
#pragma unroll
        for (int k = 0; k < kChunk; ++k) {
            inputs[i][k] = values[k];
        }
    }

    // All inputs are kept: makes them fixed.
    __device__ __forceinline__ void finish()
    {
        float largest = 0.0f;
#pragma unroll
        for (int i = 0; i < kChunks; ++i) {
#pragma unroll
            for (int k = 0; k < kChunk; ++k) {
                largest = largest_or_nan(largest, fabsf(inputs[i][k]));
            }
        }
#pragma unroll
        for (int distance = 1; distance < 4; distance *= 2) {
            largest = largest_or_nan(largest, __shfl_xor_sync(kAllLanes, largest, distance));
        }
        unit = lane % 4 == lane / 8 ? fixed_unit(largest) * kNumberUnit : 0.0f;
#pragma unroll
        for (int i = 0; i < kWords; ++i) {
            float four[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                // Numbers of 4 bits come out of a word as 0, 4, 1, 5 and 2, 6, 3, 7.
                four[k] = kBits == 8 ? inputs[i][k] : inputs[i / 2][i % 2 * 2 + k % 2 * 4 + k / 2];
            }
            fixed_bytes(four, largest, upper[i], lower[i]);
        }
    }

    // Fetches the scales of rows that are there.
    __device__ __forceinline__ void fetch_scales(const WeightMatrix& weight, int first_row, int rows, unsigned int* to) const
    {
#pragma unroll
        for (int i = 0; i < (kScaleWords + kWarp - 1) / kWarp; ++i) {
            int row = i * kWarp / kRowScaleWords + lane / kRowScaleWords;
            if (kScaleWords % kWarp == 0 || row < kRows) {
                const bf16* from = scales + (first_row + i * kWarp / kRowScaleWords) * weight.scale_stride;
                async_copy_4(to + i * kWarp + lane, from, row < rows ? scale_bytes : 0);
            }
        }
    }

    __device__ __forceinline__ void multiply(const RowStage& stage, float (&sums)[kRows]) const
    {
        bool odd = lane / 4 % 2 != 0;
#pragma unroll
        for (int row = 0; row < kRows; row += 2) {
            // Words of the four lanes' pieces: of the first above and below, of the second, ...
            unsigned int words[2][4];
            const uint4* matrix = stage.weights + (row + matrix_weight) * stage.stride;
            load_matrices(words[0], matrix + matrix_row);
            load_matrices(words[1], matrix + (matrix_row ^ 2));
            float both[2] = {};
            auto add = [&](const int(&high)[4], const int(&low)[4], int of_group) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    int product = (odd ? high[2 * i + 1] : high[2 * i]) * 256 + (odd ? low[2 * i + 1] : low[2 * i]);
                    const bf16* of_row = reinterpret_cast<const bf16*>(stage.scales + (row + i) * kRowScaleWords);
                    both[i] = fmaf(static_cast<float>(product), to_float(of_row[group[of_group]]), both[i]);
                }
            };
            if constexpr (kBits == 8) {
                int high[4] = {};
                int low[4] = {};
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const unsigned int b[2] = {upper[2 * i], upper[2 * i + 1]};
                    const unsigned int low_b[2] = {lower[2 * i], lower[2 * i + 1]};
                    multiply_accumulate_bytes(high, words[i], b);
                    multiply_accumulate_bytes(low, words[i], low_b);
                }
                add(high, low, 0);
            } else {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    unsigned int a[4];
                    halves_as_bytes(words[i / 2][i % 2 * 2], words[i / 2][i % 2 * 2 + 1], a);
                    const unsigned int b[2] = {upper[2 * i], upper[2 * i + 1]};
                    const unsigned int low_b[2] = {lower[2 * i], lower[2 * i + 1]};
                    int high[4] = {};
                    int low[4] = {};
                    multiply_accumulate_bytes(high, a, b);
                    multiply_accumulate_bytes(low, a, low_b);
                    add(high, low, i);
                }
            }
            sums[row] = both[0] * unit;
            sums[row + 1] = both[1] * unit;
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
__global__ void __launch_bounds__((RowWeights<T, Weight, kPieces>::kMostWarps * kWarp), 2)
    add_rms_norm_linear(const __grid_constant__ AddRmsNormLinearParams p)
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
    int first_of_part = part * kPieces * kWarp * Weights::kInputs;
    Weights weights(p.weight, first_of_part, lane);
    RowOutputs<kRows> outputs(p, static_cast<int>(blockIdx.x) * groups + group, static_cast<int>(gridDim.x) * groups);

    int threads = static_cast<int>(blockDim.x);
    uint4* own_ring = row_ring + warp * kWarp + Weights::slot(lane);
    unsigned int* scale_ring = reinterpret_cast<unsigned int*>(row_ring + kStages * kRowStageLoads * threads);
    float* row_sums = reinterpret_cast<float*>(scale_ring + kStages * (threads / kWarp) * Weights::kScaleWords);
    auto slot = [&](int stage, int row, int piece, int load) {
        return own_ring + (stage * kRowStageLoads + (row * kPieces + piece) * kLoads + load) * threads;
    };
    auto scales = [&](int stage) { return scale_ring + (stage * (threads / kWarp) + warp) * Weights::kScaleWords; };
    // Fetches the rows of a round; beyond the last output and the inputs there are zeros.
    constexpr int kPieceBytes = 16 * kLoads;
    const unsigned char* own_weights = p.weight.values + (part * kPieces * kWarp + lane) * kPieceBytes;
    auto fetch = [&](int round, int stage) {
        const unsigned char* from = own_weights + outputs.first(round) * p.weight.row_bytes;
        int count = outputs.count(round);
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                bool there = row < count && first_of_part + (piece * kWarp + lane) * Weights::kInputs < inputs;
#pragma unroll
                for (int load = 0; load < kLoads; ++load) {
                    async_copy_16(slot(stage, row, piece, load), from + piece * kWarp * kPieceBytes + load * 16, there ? 16 : 0);
                }
            }
            from += p.weight.row_bytes;
        }
        weights.fetch_scales(p.weight, outputs.first(round), count, scales(stage));
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
    // The norm's weights: no more than 16 of them are held, others are brought near.
    constexpr bool kHoldsNorm = kNorm && kChunks * Weights::kChunk <= 16;
    float norm_weight[kChunks][Weights::kChunk];
#pragma unroll
    for (int i = 0; kNorm && i < kChunks; ++i) {
        int column = weights.chunk(first_of_part, i);
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
    // Some chunks are on their way before the first of them is used.
    constexpr int kAtOnce = Weights::kChunksAtOnce;
#pragma unroll
    for (int first = 0; first < kChunks; first += kAtOnce) {
        Stored<T, Weights::kChunk> stored[kAtOnce] = {};
        float residual[kAtOnce][Weights::kChunk];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            int column = weights.chunk(first_of_part, first + i);
            if (column < inputs) {
                if (!kNorm || p.x != nullptr) {
                    load(static_cast<const T*>(p.x) + column, stored[i]);
                }
                if constexpr (kNorm) {
                    load(p.residual + column, residual[i]);
                }
                if constexpr (kNorm && !kHoldsNorm) {
                    load(p.norm_weight + column, norm_weight[first + i]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            float x[Weights::kChunk];
            widen(stored[i], x);
            int column = weights.chunk(first_of_part, first + i);
            if (kNorm && column < inputs) {
#pragma unroll
                for (int k = 0; k < Weights::kChunk; ++k) {
                    x[k] = residual[i][k] + x[k];
                    sum_of_squares = fmaf(x[k], x[k], sum_of_squares);
                }
                if (p.residual_out != nullptr && group == 0 && static_cast<int>(blockIdx.x) == part % static_cast<int>(gridDim.x)) {
                    store(p.residual_out + column, x);
                }
#pragma unroll
                for (int k = 0; k < Weights::kChunk; ++k) {
                    x[k] *= norm_weight[first + i][k];
                }
            }
            weights.keep(first + i, x);
        }
    }
    weights.finish();
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
        // Numbers and their scales are read by other lanes than have fetched them.
        if constexpr (Weights::kScaleWords > 0) {
            __syncwarp();
        }
        weights.multiply({row_ring + stage * kRowStageLoads * threads + warp * kWarp, scales(stage), threads}, sums);
        if constexpr (Weights::kScaleWords > 0) {
            __syncwarp();
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
