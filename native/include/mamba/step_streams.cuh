// step_streams.cuh: the warps of decode_step.cu that bring weights into shared memory.
//
//   RingPlace<kStages>   a place in the ring of stages
//   WeightStream<Shape>  the warps that fill the ring, with the large matrices
//   LayerStream<Shape>   the warp that fetches what else a layer has
#pragma once

#include "mamba/async_copy.cuh"
#include "mamba/step_shape.cuh"

namespace mamba {

// A place in the ring, and how often it was gone through.
template <int kStages>
struct RingPlace {
    int stage = 0;
    unsigned int parity = 0;

    __device__ __forceinline__ void next(int count = 1)
    {
        stage += count;
        if (stage >= kStages) {
            stage -= kStages;
            parity ^= 1u;
        }
    }
};

// The warps that fetch, each a stage in turn.
template <typename Shape>
struct WeightStream {
    // A warp has so many stages of the ring, and no more may be under way: the oldest is looked back at by its parity, which is the same again
    // two rounds later.
    static constexpr int kOwnStages = Shape::kStages / kFetchWarps;
    static constexpr int kThinInFlight = kStepThinInFlight < kOwnStages ? kStepThinInFlight : kOwnStages;
    static_assert(kStepInFlight <= kOwnStages, "");

    StepShared<Shape>& shared;
    unsigned char* ring;
    int lane;
    RingPlace<Shape::kStages> place;    // to be filled next
    RingPlace<Shape::kStages> landing;  // the oldest that may still be on its way
    int in_flight = 0;
    int group_shift;
    int turn;  // stages until this warp's next one

    __device__ __forceinline__ WeightStream(StepShared<Shape>& of_block, unsigned char* its_ring, int its_group_shift)
        : shared(of_block)
        , ring(its_ring)
        , lane(static_cast<int>(threadIdx.x) % kWarp)
        , group_shift(its_group_shift)
        , turn(static_cast<int>(threadIdx.x) / kWarp - kStepWarps)
    {
        place.next(turn);
        landing.next(turn);
    }

    __device__ __forceinline__ unsigned char* begin_stage(int most_in_flight)
    {
        for (; in_flight >= most_in_flight; --in_flight) {
            shared.filled[landing.stage].wait(landing.parity);
            landing.next(kFetchWarps);
        }
        ++in_flight;
        shared.emptied[place.stage].wait(place.parity ^ 1u);
        return ring + place.stage * Shape::kStageBytes;
    }

    __device__ __forceinline__ void end_stage()
    {
        shared.filled[place.stage].arrive_after_copies();
        place.next(kFetchWarps);
    }

    // Rows 0 to count - 1 of a matrix, of which that of number i is row_of(i): 16 at a time, a stage for every chunk of their columns.
    template <int kColumns, typename RowOf>
    __device__ __forceinline__ void rows(const unsigned char* matrix, const bf16* scales, int count, RowOf row_of)
    {
        using Format = typename Shape::Format;
        constexpr int kChunks = step_parts(kColumns, Format::kInputs);
        constexpr int kRowBytes = Format::row_bytes(kColumns);
        int all = step_parts(count, kStepOutputs) * kChunks;
#pragma unroll 1
        for (; turn < all; turn += kFetchWarps) {
            int first_row = turn / kChunks * kStepOutputs;
            int chunk = turn % kChunks;
            int byte = chunk * kStepRowBytes + lane * 16;
            unsigned char* stage = begin_stage(count - first_row <= kStepThinRows ? kThinInFlight : kStepInFlight);
            if (kRowBytes % kStepRowBytes == 0 || byte < kRowBytes) {
                // Most stages have 16 rows that follow each other in memory, whose places the instruction itself holds then: of numbers, a step
                // is a thirteenth shorter so.
                int here = count - first_row;
                int last = min(here, kStepOutputs) - 1;
                const unsigned char* from = matrix + row_of(first_row) * static_cast<long long>(kRowBytes) + byte;
                bool follow = row_of(first_row + last) == row_of(first_row) + last;
                if (follow && here >= kStepOutputs) {
#pragma unroll
                    for (int row = 0; row < kStepOutputs; ++row) {
                        async_copy_16(stage + stage_offset(row, lane), from + row * kRowBytes, 16);
                    }
                } else if (follow) {
#pragma unroll
                    for (int row = 0; row < kStepOutputs; ++row) {
                        if (row < here) {
                            async_copy_16(stage + stage_offset(row, lane), from + row * kRowBytes, 16);
                        }
                    }
                } else {
#pragma unroll
                    for (int row = 0; row < kStepOutputs; ++row) {
                        if (row < here) {
                            from = matrix + row_of(first_row + row) * static_cast<long long>(kRowBytes) + byte;
                            async_copy_16(stage + stage_offset(row, lane), from, 16);
                        }
                    }
                }
            }
            if constexpr (Format::kNumbers) {
                // Eight scales at a time where a row has so many, else two. Those that are not there are zero, since what they meet may be
                // anything.
                int groups = step_groups(kColumns, group_shift);
                int of_stage = Format::kInputs >> group_shift;  // of an output, a power of two
                bool wide = (groups | of_stage) % 8 == 0;
                int copies = wide ? of_stage / 8 : of_stage / 2;
                int shift = __ffs(copies) - 1;
#pragma unroll 1
                for (int i = lane; i < kStepOutputs * copies; i += kWarp) {
                    int row = i >> shift;
                    int group = chunk * of_stage + (i & (copies - 1)) * (wide ? 8 : 2);
                    bool there = first_row + row < count && group < groups;
                    const bf16* from = scales + (there ? row_of(first_row + row) * static_cast<long long>(groups) + group : 0);
                    unsigned char* to = stage + kStepWeightBytes + i * (wide ? 16 : 4);
                    if (wide) {
                        async_copy<16>(to, from, there);
                    } else {
                        async_copy<4>(to, from, there);
                    }
                }
            }
            end_stage();
        }
        turn -= all;
    }
};

// The warp that fetches what a layer has beside the matrices that go through the ring: little at a time (kStepSmallInFlight), since all at once
// holds the weights up, by a fiftieth of a step of 2.8b.
template <typename Shape>
struct LayerStream {
    StepShared<Shape>& shared;
    const DecodeStepParams& p;
    int first_channel;
    int own;
    int lane;

    // That of a layer, when that of the one before was used: the block's columns of scan_weight, in pieces of eight outputs and 16
    // channels; its rows of delta_weight, in pieces of eight channels and 32 inputs; vectors of its channels. What is not there is zero.
    __device__ __forceinline__ void fetch(const DecodeStepLayerParams& layer, int number)
    {
        shared.layer_emptied.wait((number & 1) ^ 1u);
        // Of scan_weight four channels at a time, or eight numbers; of delta_weight 16 bytes.
        constexpr int kScanBytes = (Shape::Format::kNumbers ? 8 : 4) * Shape::kBits / 8;
        constexpr int kDeltaRowBytes = Shape::Format::row_bytes(Shape::kRank);
        pieces<kScanBytes, Shape::kScanProducts, Shape::kScanPieces, Shape::kScanPieceBytes, Shape::Format::row_bytes(Shape::kChannels)>(
            shared.scan_weight, layer.scan_weight + first_channel * Shape::kBits / 8, Shape::kOutputs, own * Shape::kBits / 8);
        pieces<16, Shape::kDeltaProducts, Shape::kDeltaPieces, Shape::kDeltaPieceBytes, kDeltaRowBytes>(
            shared.delta_weight, layer.delta_weight + first_channel * kDeltaRowBytes, own, kDeltaRowBytes);
        vectors(Shape::kA, layer.a, Shape::kStates);
        vectors(Shape::kConvWeight, layer.conv_weight, kStepConvWidth);
        vectors(Shape::kConvBias, layer.conv_bias, 1);
        vectors(Shape::kDeltaBias, layer.delta_bias, 1);
        vectors(Shape::kSkip, layer.d, 1);
        constexpr int kHistory = kStepConvWidth - 1;
#pragma unroll 1
        for (int row = 0; row < p.rows; ++row) {
            int to = Shape::kShared + row * Shape::kRowVectors;
            long long slot = p.sequences.slot(row);
            vectors(to, layer.conv_state + slot * kHistory * Shape::kChannels, kHistory);
            vectors(to + kHistory, layer.state + slot * Shape::kStates * Shape::kChannels, Shape::kStates);
        }
        if constexpr (Shape::Format::kNumbers) {
            scales(layer);
        }
        shared.layer_filled.arrive_after_copies();
    }

    // A matrix as pieces of eight rows and some columns, kBytes at a time, of which there are so many rows and bytes of a row. A lane stays in
    // its column.
    template <int kBytes, int kRowPieces, int kPieces, int kPieceBytes, int kRowBytes>
    __device__ __forceinline__ void pieces(unsigned char* to, const unsigned char* from, int rows, int bytes)
    {
        constexpr int kPieceRowBytes = kPieceBytes / kStepSmallOutputs;
        constexpr int kChunks = kPieces * kPieceRowBytes / kBytes;
        constexpr int kLanes = kChunks <= 4 ? 4 : kChunks <= 8 ? 8 : kChunks <= 16 ? 16 : 32;
        constexpr int kRowsAtOnce = kWarp / kLanes;
#pragma unroll 1
        for (int byte = lane % kLanes * kBytes; byte < kChunks * kBytes; byte += kLanes * kBytes) {
            int row = lane / kLanes;
            unsigned char* its_to = to + byte / kPieceRowBytes * kPieceBytes + byte % kPieceRowBytes + row * kPieceRowBytes;
            const unsigned char* its_from = from + row * static_cast<long long>(kRowBytes) + byte;
            int its_rows = byte < bytes ? rows : 0;
#pragma unroll 1
            for (int row_piece = 0; row_piece < kRowPieces; ++row_piece) {
#pragma unroll
                for (int i = 0; i < kStepSmallOutputs; i += kRowsAtOnce) {
                    bool there = row + i < its_rows;
                    async_copy<kBytes>(its_to + i * kPieceRowBytes, there ? its_from + i * kRowBytes : from, there);
                }
                async_commit();
                async_wait<kStepSmallInFlight>();
                row += kStepSmallOutputs;
                its_to += kPieces * kPieceBytes;
                its_from += kStepSmallOutputs * kRowBytes;
            }
        }
    }

    // Of scan_weight pairs of groups; those behind the last are not used. Of delta_weight all of the block's rows, which lie side by side.
    __device__ __forceinline__ void scales(const DecodeStepLayerParams& layer)
    {
        constexpr int kPairs = Shape::kScanGroups / 2;
        int pairs = (Shape::kChannels + (1 << p.group_shift) - 1) >> (p.group_shift + 1);
#pragma unroll 4
        for (int i = lane; i < Shape::kOutputs * kPairs; i += kWarp) {
            int output = i / kPairs;
            int pair = min((first_channel >> (p.group_shift + 1)) + i % kPairs, pairs - 1);
            async_copy<4>(&shared.scan_scales[output][i % kPairs * 2], layer.scan_scales + (output * pairs + pair) * 2, true);
        }
        int groups = step_groups(Shape::kRank, p.group_shift);
#pragma unroll 1
        for (int i = lane * 8; i < own * groups; i += kWarp * 8) {
            async_copy_16(&shared.delta_scales[i], layer.delta_scales + first_channel * groups + i, 16);
        }
    }

    // Vectors of the block's channels from rows of a matrix, or zeros where there is none.
    __device__ __forceinline__ void vectors(int to, const float* from, int count)
    {
        constexpr int kChunks = Shape::kOwn / 4;
        constexpr int kRowsAtOnce = kWarp / kChunks;
        int channel = lane % kChunks * 4;
        int row = min(lane / kChunks, count - 1);
        bool there = from != nullptr && channel < own;
        const float* its_from = there ? from + row * Shape::kChannels + first_channel + channel : nullptr;
        float* its_to = &shared.vectors[to + row][channel];
        int left = lane < kRowsAtOnce * kChunks ? count - lane / kChunks : 0;
#pragma unroll 1
        for (; left > 0; left -= kRowsAtOnce) {
            async_copy_16(its_to, its_from, there ? 16 : 0);
            its_to += kRowsAtOnce * Shape::kOwn;
            its_from += kRowsAtOnce * Shape::kChannels;
        }
    }
};

}  // namespace mamba
