// step_reader.cuh: the warps of decode_step.cu that compute: products of vectors that all blocks give with what lies in the ring.
//
//   WeightReader<Shape>                  wait_for_inputs keeps this warp's part of a vector, multiply takes stages of the ring in their order
//   sum_of_warps(sums, row, output)      what the warps' parts of an output make together
//   step_sync()                          one barrier of these warps
#pragma once

#include "mamba/named_barrier.cuh"
#include "mamba/step_shape.cuh"
#include "mamba/step_streams.cuh"

namespace mamba {

// The warps that compute: how they read the ring.
template <typename Shape>
struct WeightReader {
    StepShared<Shape>& shared;
    const unsigned char* ring;
    RingPlace<Shape::kStages> place;
    int group_shift;
    int lane;
    int warp;

    __device__ __forceinline__ WeightReader(StepShared<Shape>& of_block, const unsigned char* its_ring, int its_group_shift)
        : shared(of_block)
        , ring(its_ring)
        , group_shift(its_group_shift)
        , lane(static_cast<int>(threadIdx.x) % kWarp)
        , warp(static_cast<int>(threadIdx.x) / kWarp)
    {
    }

    // Waits for this warp's part of vectors, its pieces, and keeps it in shared memory as right matrices.
    template <int kColumns>
    __device__ __forceinline__ void wait_for_inputs(const FlaggedWord* vectors, unsigned int number, int rows)
    {
        using Format = typename Shape::Format;
        using Inputs = StepInputs<Shape::kBits>;
        constexpr int kRows = Shape::kRows;
        constexpr int kParts = step_parts(kColumns, Format::kInputs) * kRows;  // pieces
        constexpr int kLanes = Format::kPiece / 4;                             // that read one
        constexpr int kPerRead = kWarp / kLanes;
        constexpr int kReads = step_parts(kParts, kPerRead);
        constexpr int kAtOnce = kReads < 5 ? kReads : 5;
        int in_piece = lane % kLanes;
        const FlaggedWord* own = vectors + warp * Format::kPiece / 2 + in_piece * 2;
#pragma unroll
        for (int first = 0; first < kReads; first += kAtOnce) {
            unsigned int values[kAtOnce][2];
            auto place_of = [&](int i) {
                int part = (first + i) * kPerRead + lane / kLanes;
                int column = part / kRows * Format::kInputs;
                bool there = part % kRows < rows && part < kParts
                    && (kColumns % Format::kInputs == 0 || column + warp * Format::kPiece < kColumns);
                return there ? own + (part % kRows * kColumns + column) / 2 : nullptr;
            };
            wait_for_words(place_of, number, values);
#pragma unroll
            for (int i = 0; i < kAtOnce; ++i) {
                int part = (first + i) * kPerRead + lane / kLanes;
                int piece = min(part / kRows, Shape::kMostPieces - 1);
                Inputs::keep(
                    &shared.inputs[warp][part % kRows][piece * Inputs::kWords], &shared.input_units[warp][piece], in_piece, values[i],
                    part < kParts);
            }
        }
        __syncwarp();
    }

    // This warp's part of the products of its inputs with rows begin_row to end_row - 1 of a matrix, 16 at a time, which are the left matrix.
    // Of a small model all of it is under way at once, since each step of the way costs it more than the work does. What is at once has no
    // branch: of 2.8b in 8 bits, a step took half as long again where each stage was asked for whether it is there.
    template <int kColumns, int kPlaces>
    __device__ __forceinline__ void multiply(int begin_row, int end_row, float (&sums)[Shape::kRows][kPlaces])
    {
        using Format = typename Shape::Format;
        using Inputs = StepInputs<Shape::kBits>;
        constexpr int kChunks = step_parts(kColumns, Format::kInputs);
        constexpr int kMost = Shape::kBits == 4 ? 3 : Format::kNumbers ? 5 : 6;  // stages at once, as many as registers hold
        constexpr int kAtOnce = kChunks <= kMost ? kChunks : kMost >= 5 && kChunks % 5 == 0 ? 5 : kMost >= 4 && kChunks % 4 == 0 ? 4 : 3;
        constexpr int kUnroll = kChunks % kAtOnce == 0 ? 1 : step_parts(kChunks, kAtOnce);  // else it is asked for each whether it is there
        constexpr int kFitting = kChunks <= kMost ? kMost / kChunks : 1;
        constexpr int kTogether = kFitting < kPlaces / kStepOutputs ? kFitting : kPlaces / kStepOutputs;  // products
        int row = lane / 4;
        const unsigned int* own_inputs = shared.inputs[warp][min(row, Shape::kRows - 1)];
#pragma unroll 1
        for (int first = begin_row; first < end_row; first += kTogether * kStepOutputs) {
            StepProducts<Shape::kBits> products[kTogether];
#pragma unroll kUnroll
            for (int begin = 0; begin < kChunks; begin += kAtOnce) {
                StepWeights<Shape::kBits> weights[kTogether][kAtOnce];
                Inputs x[kAtOnce];
                auto load_inputs = [&](int i) {
                    x[i] = {};
                    if (kChunks % kAtOnce == 0 || begin + i < kChunks) {
                        x[i].load(own_inputs + (begin + i) * Inputs::kWords, &shared.input_units[warp][begin + i], lane, row < Shape::kRows);
                    }
                };
                // Those that numbers meet are more than registers hold beside the weights.
                if constexpr (!Format::kNumbers) {
#pragma unroll
                    for (int i = 0; i < kAtOnce; ++i) {
                        load_inputs(i);
                    }
                }
                auto is_there = [&](int product, int i) {
                    return (product == 0 || first + product * kStepOutputs < end_row) && (kChunks % kAtOnce == 0 || begin + i < kChunks);
                };
                // All are asked for before any is waited for.
                RingPlace<Shape::kStages> its = place;
                bool all = true;
#pragma unroll
                for (int k = 0; k < kTogether * kAtOnce; ++k) {
                    if (is_there(k / kAtOnce, k % kAtOnce)) {
                        all = shared.filled[its.stage].has_ended(its.parity) && all;
                        its.next();
                    }
                }
                its = place;
#pragma unroll
                for (int k = 0; k < kTogether * kAtOnce; ++k) {
                    if (is_there(k / kAtOnce, k % kAtOnce)) {
                        if (!all) {
                            shared.filled[its.stage].wait(its.parity);
                        }
                        weights[k / kAtOnce][k % kAtOnce].load(ring + its.stage * Shape::kStageBytes, lane, warp, group_shift);
                        its.next();
                    }
                }
                __syncwarp();
#pragma unroll
                for (int k = 0; k < kTogether * kAtOnce; ++k) {
                    if (is_there(k / kAtOnce, k % kAtOnce)) {
                        if (lane == 0) {
                            shared.emptied[place.stage].arrive();
                        }
                        place.next();
                    }
                }
#pragma unroll
                for (int k = 0; k < kTogether * kAtOnce; ++k) {
                    int product = k / kAtOnce;
                    int i = k % kAtOnce;
                    if (Format::kNumbers && product == 0) {
                        load_inputs(i);
                    }
                    // Numbers of columns that there are not meet zeros; what lies in the place of others may be infinite.
                    if (is_there(product, i)
                        && (Format::kNumbers || kColumns % Format::kInputs == 0
                            || (begin + i) * Format::kInputs + warp * Format::kPiece < kColumns)) {
                        products[product].add(i, weights[product][i], x[i]);
                    }
                }
            }
#pragma unroll
            for (int product = 0; product < kTogether; ++product) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    int its_row = lane % 4 * 2 + i % 2;
                    int output = first + product * kStepOutputs + row + i / 2 * 8;
                    if (its_row < Shape::kRows && (product == 0 || output < end_row)) {
                        sums[its_row][output] = products[product].value(i);
                    }
                }
            }
        }
    }
};

// The warps' sums of an output, added up.
template <int kRows, int kPlaces>
__device__ __forceinline__ float sum_of_warps(const float (&of_warps)[kStepWarps][kRows][kPlaces], int row, int output)
{
    float sums[kStepWarps];
#pragma unroll
    for (int i = 0; i < kStepWarps; ++i) {
        sums[i] = of_warps[i][row][output];
    }
#pragma unroll
    for (int distance = kStepWarps / 2; distance > 0; distance /= 2) {
#pragma unroll
        for (int i = 0; i < distance; ++i) {
            sums[i] += sums[i + distance];
        }
    }
    return sums[0];
}

// One barrier of the warps that compute.
__device__ __forceinline__ void step_sync() { barrier_sync(1, kStepThreads); }

}  // namespace mamba
