// step_weights.cuh: what decode_step.cu multiplies, as it lies in a stage of its ring and in registers: bf16, or numbers of 8 or 4 bits.
//
// A stage has 16 outputs, 512 bytes of each: 256, 512 or 1,024 inputs. A warp has 64 bytes of each output, its piece: 32, 64 or 128 inputs.
// By tensor cores, 16 outputs of a piece are the left matrix and the inputs, filled up to eight rows, the right one.
//   16 bits   bf16 by bf16, in float
//   8, 4      the numbers as they are, as bytes; inputs are fixed-point numbers of 16 bits, so two bytes, of the greatest of the piece, to
//             which bf16 would have rounded no better. Sums of a group are whole numbers, and exact, until they are scaled. One row alone.
//             Behind the numbers lie the groups' scales, as many of each output.
//
//   StepFormat<kBits>     sizes
//   StepWeights<kBits>    a warp's piece of 16 outputs
//   StepInputs<kBits>     what they meet, and how it is kept in shared memory
//   StepProducts<kBits>   sums of their products
#pragma once

#include "mamba/fast_math.cuh"
#include "mamba/mma.cuh"
#include "mamba/quantized.cuh"
#include "mamba/reductions.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

constexpr int kStepOutputs = 16;    // of a product, and of a stage
constexpr int kStepRowBytes = 512;  // of an output in a stage
constexpr int kStepWeightBytes = kStepOutputs * kStepRowBytes;

// Where the 16 bytes of output `row` and number `chunk` of a stage lie: so that the rows of a matrix (see mma.cuh) lie in different banks.
__device__ __forceinline__ int stage_offset(int row, int chunk) { return row * kStepRowBytes + (chunk ^ (row & 7)) * 16; }

// The groups of a row of numbers; a group has 2^group_shift.
__device__ __forceinline__ int step_groups(int columns, int group_shift) { return (columns + (1 << group_shift) - 1) >> group_shift; }

template <int kBits>
struct StepFormat {
    static constexpr bool kNumbers = kBits < 16;
    static constexpr int kInputs = kStepRowBytes * 8 / kBits;  // of a stage
    static constexpr int kPiece = kInputs / 8;                 // of them, a warp's
    static constexpr int kLeastGroup = kBits == 8 ? 64 : 32;
    static constexpr int kGroups = kNumbers ? kPiece / kLeastGroup : 0;  // of a piece, at most
    static constexpr int kStageBytes = kStepWeightBytes + (kNumbers ? kStepOutputs * kInputs / kLeastGroup * 2 : 0);

    // From a row of a matrix to the next.
    static __host__ __device__ constexpr int row_bytes(int columns)
    {
        int bytes = columns * kBits / 8;
        return kNumbers ? (bytes + 63) / 64 * 64 : bytes;
    }
};

template <int kBits>
struct StepWeights {
    using Format = StepFormat<kBits>;

    unsigned int words[2][4];
    bf16 scales[Format::kGroups < 1 ? 1 : Format::kGroups][2];  // of outputs lane / 4 and lane / 4 + 8

    // Of matrices (upper or lower outputs, first or second 16 bytes) a lane names a row.
    __device__ __forceinline__ void load(const unsigned char* stage, int lane, int warp, int group_shift)
    {
        int row = lane % 16;
        const unsigned char* own = stage + row * kStepRowBytes;
#pragma unroll
        for (int step = 0; step < 2; ++step) {
            load_matrices(words[step], own + ((warp * 4 + step * 2 + lane / 16) ^ (row & 7)) * 16);
        }
        if constexpr (Format::kNumbers) {
            const bf16* of_stage = reinterpret_cast<const bf16*>(stage + kStepWeightBytes);
            int groups = Format::kInputs >> group_shift;
#pragma unroll
            for (int i = 0; i < Format::kGroups; ++i) {
                int group = (warp * Format::kPiece + i * Format::kLeastGroup) >> group_shift;
                scales[i][0] = of_stage[lane / 4 * groups + group];
                scales[i][1] = of_stage[(lane / 4 + 8) * groups + group];
            }
        }
    }
};

// Of bf16, of four neighbouring lanes each has the words at its place in the quarters of a piece side by side.
template <int kBits>
struct StepInputs {
    static constexpr int kWords = StepFormat<kBits>::kPiece / 2;  // of a piece in shared memory

    Piece<16> words;

    // Words 2 `place` and the next of a piece: of quarter place / 2, of lanes place % 2 * 2 and the next.
    static __device__ __forceinline__ void keep(unsigned int* piece, float*, int place, const unsigned int (&values)[2], bool is_there)
    {
        unsigned int* to = piece + place % 2 * 8 + place / 2;
        if (is_there) {
            to[0] = values[0];
            to[4] = values[1];
        }
    }

    // Only lanes whose row there is have inputs; the unit belongs to all.
    __device__ __forceinline__ void load(const unsigned int* piece, const float*, int lane, bool is_row)
    {
        if (is_row) {
            load_piece<Access::plain>(piece + lane % 4 * 4, words);
        }
    }
};

// Of numbers, upper bytes and then lower ones, of each of four neighbouring lanes what it needs side by side.
template <int kBits>
struct FixedStepInputs {
    using Format = StepFormat<kBits>;
    static constexpr int kWords = Format::kPiece / 2;
    static constexpr int kLaneWords = Format::kPiece / 16;  // of either bytes

    Piece<16> upper[kLaneWords / 4];
    Piece<16> lower[kLaneWords / 4];
    float unit;

    // Lane `place` of the kPiece / 4 neighbours that have a piece has four inputs of it.
    static __device__ __forceinline__ void keep(unsigned int* piece, float* unit, int place, const unsigned int (&values)[2], bool is_there)
    {
        float x[4] = {lower_half(values[0]), upper_half(values[0]), lower_half(values[1]), upper_half(values[1])};
        float largest = 0.0f;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            largest = largest_or_nan(largest, fabsf(x[i]));
        }
#pragma unroll
        for (int distance = 1; distance < Format::kPiece / 4; distance *= 2) {
            largest = largest_or_nan(largest, __shfl_xor_sync(kAllLanes, largest, distance));
        }
        unsigned int high;
        unsigned int low;
        fixed_bytes(x, largest, high, low);
        int at;
        if constexpr (kBits == 8) {
            at = place % 4 * kLaneWords + place / 4;
        } else {
            // Numbers come out of a word as 0, 4, 1, 5 and 2, 6, 3, 7; two neighbours have the inputs that they meet.
            high = of_two(place, high);
            low = of_two(place, low);
            at = place % 8 / 2 * kLaneWords + place / 8 * 2 + place % 2;
        }
        if (is_there) {
            piece[at] = high;
            piece[kWords / 2 + at] = low;
        }
        if (is_there && place == 0) {
            *unit = fixed_unit(largest) * (kBits == 8 ? 1.0f : 1.0f / 16.0f);
        }
    }

    __device__ __forceinline__ void load(const unsigned int* piece, const float* its_unit, int lane, bool is_row)
    {
#pragma unroll
        for (int i = 0; i < kLaneWords / 4; ++i) {
            if (is_row) {
                load_piece<Access::plain>(piece + lane % 4 * kLaneWords + i * 4, upper[i]);
                load_piece<Access::plain>(piece + kWords / 2 + lane % 4 * kLaneWords + i * 4, lower[i]);
            }
        }
        unit = *its_unit;
    }

private:
    static __device__ __forceinline__ float lower_half(unsigned int word) { return mamba::lower<bf16>(word); }
    static __device__ __forceinline__ float upper_half(unsigned int word) { return mamba::upper<bf16>(word); }

    static __device__ __forceinline__ unsigned int of_two(int place, unsigned int own)
    {
        unsigned int other = __shfl_xor_sync(kAllLanes, own, 1);
        return place % 2 == 0 ? __byte_perm(own, other, 0x5140u) : __byte_perm(other, own, 0x7362u);
    }
};

template <>
struct StepInputs<8> : FixedStepInputs<8> {};

template <>
struct StepInputs<4> : FixedStepInputs<4> {};

template <int kBits>
struct StepProducts {
    float sums[4][4] = {};

    __device__ __forceinline__ void add(int i, const StepWeights<kBits>& weights, const StepInputs<kBits>& inputs)
    {
#pragma unroll
        for (int step = 0; step < 2; ++step) {
            const unsigned int b[2] = {inputs.words.words[2 * step], inputs.words.words[2 * step + 1]};
            multiply_accumulate<bf16>(sums[i % 2 * 2 + step], weights.words[step], b);
        }
    }

    // Element i of D, see mma.cuh.
    __device__ __forceinline__ float value(int i) const { return (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]); }
};

// What is not of the first row is left out.
template <>
struct StepProducts<8> {
    float sums[2] = {};

    __device__ __forceinline__ void add(int, const StepWeights<8>& weights, const StepInputs<8>& inputs)
    {
        int high[4] = {};
        int low[4] = {};
#pragma unroll
        for (int step = 0; step < 2; ++step) {
            const unsigned int b[2] = {inputs.upper[0].words[2 * step], inputs.upper[0].words[2 * step + 1]};
            const unsigned int low_b[2] = {inputs.lower[0].words[2 * step], inputs.lower[0].words[2 * step + 1]};
            multiply_accumulate_bytes(high, weights.words[step], b);
            multiply_accumulate_bytes(low, weights.words[step], low_b);
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            sums[i] = fmaf(static_cast<float>(high[2 * i] * 256 + low[2 * i]), to_float(weights.scales[0][i]) * inputs.unit, sums[i]);
        }
    }

    __device__ __forceinline__ float value(int i) const { return sums[i / 2]; }
};

template <>
struct StepProducts<4> {
    float sums[2] = {};

    __device__ __forceinline__ void add(int, const StepWeights<4>& weights, const StepInputs<4>& inputs)
    {
#pragma unroll
        for (int group = 0; group < StepFormat<4>::kGroups; ++group) {
            unsigned int a[4];
            halves_as_bytes(weights.words[group / 2][group % 2 * 2], weights.words[group / 2][group % 2 * 2 + 1], a);
            const Piece<16>& upper = inputs.upper[group / 2];
            const Piece<16>& lower = inputs.lower[group / 2];
            const unsigned int b[2] = {upper.words[group % 2 * 2], upper.words[group % 2 * 2 + 1]};
            const unsigned int low_b[2] = {lower.words[group % 2 * 2], lower.words[group % 2 * 2 + 1]};
            int high[4] = {};
            int low[4] = {};
            multiply_accumulate_bytes(high, a, b);
            multiply_accumulate_bytes(low, a, low_b);
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                sums[i] = fmaf(static_cast<float>(high[2 * i] * 256 + low[2 * i]), to_float(weights.scales[group][i]) * inputs.unit, sums[i]);
            }
        }
    }

    __device__ __forceinline__ float value(int i) const { return sums[i / 2]; }
};

// Weights of a small matrix that lie in shared memory as they came, as pairs of bf16 for tensor cores: numbers times their scale, rounded.
// Four neighbours, from a multiple of four on; of 4 bits the word that they lie in is given, and which half of its eight they are.
template <int kBits>
__device__ __forceinline__ void scaled_pairs(unsigned int word, [[maybe_unused]] int half, bf16 scale, unsigned int (&to)[2])
{
    if constexpr (kBits == 8) {
        number_pairs<bf16>(word, to);
    } else {
        unsigned int all[4];
        number_pairs<bf16>(word >> (8 * half), all);
        to[0] = all[0];
        to[1] = all[1];
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        to[i] = multiply_pairs<bf16>(to[i], scale.bits * 0x10001u);
    }
}

}  // namespace mamba
