// step_shape.cuh: what decode_step.cu is given, and how it cuts a model into blocks.
//
//   DecodeStepLayerParams, DecodeStepParams   operands in device memory
//   StepPauses<kBits, kWidth>                 how long to wait before looking for what others give
//   StepShape<...>                            the sizes of a model, and what of it a block has
//   StepShared<Shape>                         shared memory of a block
#pragma once

#include "mamba/flagged_words.cuh"
#include "mamba/memory_barrier.cuh"
#include "mamba/sequences.cuh"
#include "mamba/step_weights.cuh"
#include "mamba/types.cuh"

namespace mamba {

// What a layer has, in device memory; as in DecodeStep.Cuda.cs.
struct DecodeStepLayerParams {
    const unsigned char* in_weight;     // (2 channels, hidden): x, then z
    const unsigned char* scan_weight;   // (rank + 2 states, channels)
    const unsigned char* delta_weight;  // (channels, rank)
    const unsigned char* out_weight;    // (hidden, channels)
    const bf16* in_scales;              // of each, (outputs, groups), where it consists of numbers
    const bf16* scan_scales;
    const bf16* delta_scales;
    const bf16* out_scales;
    const float* norm_weight;  // (hidden)
    const float* conv_weight;  // (width, channels)
    const float* conv_bias;    // (channels), or null
    const float* delta_bias;   // (channels)
    const float* a;            // (states, channels)
    const float* d;            // (channels)
    const float* conv_state;   // (slots (width - 1), channels)
    const float* state;        // (slots states, channels)
    float* next_conv_state;
    float* next_state;
};

struct DecodeStepParams {
    const DecodeStepLayerParams* layers;
    const int* token_ids;
    const bf16* embedding;  // (vocabulary, width)
    const float* final_norm_weight;
    const unsigned char* head;  // (vocabulary, width)
    const bf16* head_scales;
    float* logits;
    FlaggedWord* hidden;     // (copies, rows, width / 2)
    FlaggedWord* squares;    // (kStepCopies, rows, blocks)
    FlaggedWord* shares;     // (owners, blocks, values of an owner)
    FlaggedWord* projected;  // (kStepCopies, values)
    FlaggedWord* inner;      // (copies, rows, channels / 2)
    unsigned int* number;    // of the flagged words, the last one used
    long long logits_stride;
    SequenceTable sequences;
    int rows;
    int layer_count;
    int vocabulary;
    int own_words;    // of the vocabulary, of a block
    int group_shift;  // a group of numbers has 2^group_shift of them
    float epsilon;
};

constexpr int kStepWarps = 8;  // that compute
constexpr int kStepThreads = kStepWarps * kWarp;
constexpr int kFetchWarps = 3;
constexpr int kListenThreads = kWarp;  // for the scale of the norm; they fetch what is small
constexpr int kStepBlockThreads = kStepThreads + kFetchWarps * kWarp + kListenThreads;
constexpr int kStepInFlight = 2;  // stages of a warp that fetches
constexpr int kStepThinInFlight = 6;  // where stages have few rows
constexpr int kStepThinRows = 4;
constexpr int kStepSmallInFlight = 4;  // pieces of eight rows of scan_weight or delta_weight
constexpr int kStepSmallOutputs = 8;  // of a product with scan_weight or delta_weight, where they are the right matrix
constexpr int kStepConvWidth = 4;
constexpr int kStepScanInputs = 16;   // channels of a product with scan_weight
constexpr int kStepDeltaInputs = 32;  // of two products with delta_weight

// Cycles from where a block has given its part until it looks for the others'. Where much is to be read, as of long vectors, or by many
// blocks at one time, as where the weights are soon there, looks that find nothing cost more than coming late does. Each as was best on an H200.
template <int kBits, int kWidth>
struct StepPauses {
    static constexpr bool kLong = kBits < 16 || kWidth >= 1536;
    // By so many steps small products are looked for later.
    static constexpr int kLater = !kLong ? 0 : kBits < 8 ? 1 : kBits < 16 || kWidth < 2560 ? 2 : 3;
    static constexpr int kHidden = kLong ? 1500 : 400;
    static constexpr int kSquares = kLong ? 1700 : 1100;
    static constexpr int kShares = 900 + 400 * kLater;
    static constexpr int kProjected = 800 + 400 * kLater;
    static constexpr int kInner = kLong ? 1900 : 600;
    static constexpr int kIdle = 1600 + 800 * kLater;  // what adding up takes, for a block that has nothing to add up
};

// What all blocks read is there so often, for as many groups of them: a few lines that all of them ask for are a queue before a few slices
// of the L2.
constexpr int kStepCopies = 8;

__host__ __device__ constexpr int step_parts(int whole, int part) { return (whole + part - 1) / part; }

__host__ __device__ constexpr int step_fill(int value, int multiple) { return step_parts(value, multiple) * multiple; }

// The sizes of a model, and what a block has of it.
template <int kBits_, int kRows_, int kWidth_, int kChannels_, int kRank_, int kStates_, int kOwn_, int kStages_, int kFixedBytes_>
struct StepShape {
    static constexpr int kBits = kBits_;          // of a weight
    static constexpr int kRows = kRows_;          // most: 1, 2 or 4
    static constexpr int kWidth = kWidth_;        // of the residual stream
    static constexpr int kChannels = kChannels_;
    static constexpr int kRank = kRank_;
    static constexpr int kStates = kStates_;
    static constexpr int kOwn = kOwn_;            // channels of a block, a multiple of 4; of 8, where there are more than lanes, or numbers
    static constexpr int kStages = kStages_;      // of the ring
    static constexpr int kFixedBytes = kFixedBytes_;  // of shared memory, that the launch reckons with before the ring
    using Format = StepFormat<kBits>;
    using Pauses = StepPauses<kBits_, kWidth_>;
    static constexpr int kStageBytes = Format::kStageBytes;
    static constexpr int kBlocks = step_parts(kChannels, kOwn);
    static constexpr int kOwnWidth = step_fill(step_parts(kWidth, kBlocks), 2);
    static constexpr int kOutputs = kRank + 2 * kStates;  // of scan_weight
    static constexpr int kValues = kOutputs * kRows;
    static constexpr int kProjected = step_fill(kOutputs, 32) + 40;  // what a left matrix reads behind low meets weights that are zero
    static constexpr int kOwnValues = step_parts(kValues, kBlocks);
    // Of the long vectors that all blocks read: a block that has many rows has many words to give.
    static constexpr int kCopies = kStepCopies / kRows;
    static constexpr int kInProducts = step_parts(2 * kOwn, kStepOutputs);
    // What is read of in_weight for x; while shares are on their way (up to kZRows); and while (low, B, C) are.
    static constexpr int kXRows = step_fill(kOwn, kStepOutputs) < 2 * kOwn ? step_fill(kOwn, kStepOutputs) : 2 * kOwn;
    static constexpr int kZRows = kXRows + step_parts(2 * kOwn - kXRows, 2 * kStepOutputs) * kStepOutputs;
    static constexpr int kOutProducts = step_parts(kOwnWidth, kStepOutputs);
    static constexpr int kScanPieces = step_parts(kOwn, kStepScanInputs);
    static constexpr int kScanProducts = step_parts(kOutputs, kStepSmallOutputs);
    static constexpr int kDeltaPieces = step_parts(kRank, kStepDeltaInputs);
    static constexpr int kScanPieceBytes = kStepSmallOutputs * kStepScanInputs * kBits / 8;
    static constexpr int kDeltaPieceBytes = kStepSmallOutputs * kStepDeltaInputs * kBits / 8;
    // Groups that the block's columns of scan_weight, in pairs from an even one on, and a row of delta_weight may touch.
    static constexpr int kScanGroups = Format::kNumbers ? 2 * (step_parts(kOwn, 2 * Format::kLeastGroup) + 1) : 1;
    static constexpr int kDeltaGroups = Format::kNumbers ? step_parts(kRank, Format::kLeastGroup) : 1;
    static constexpr int kDeltaProducts = step_parts(kOwn, kStepSmallOutputs);
    static constexpr int kLaneChannels = step_parts(kOwn, kWarp);
    static constexpr int kScanChannels = kLaneChannels == 1 ? 4 : 8;   // of a warp in the scan
    static constexpr int kScanParts = kWarp / kScanChannels;  // of a channel's states, one a lane
    static constexpr int kPartStates = step_parts(kStates, kScanParts);
    static constexpr int kMostPieces = step_parts(kChannels > kWidth ? kChannels : kWidth, Format::kInputs);  // of a warp's inputs
    static constexpr int kInputs = kMostPieces * StepInputs<kBits>::kWords + 4;                               // words of a warp
    // What else a layer has for the block's channels: fp32 vectors of kOwn, first those that all rows share.
    static constexpr int kA = 0;
    static constexpr int kConvWeight = kA + kStates;
    static constexpr int kConvBias = kConvWeight + kStepConvWidth;
    static constexpr int kDeltaBias = kConvBias + 1;
    static constexpr int kSkip = kDeltaBias + 1;
    static constexpr int kShared = kSkip + 1;
    static constexpr int kRowVectors = kStepConvWidth - 1 + kStates;  // states of the convolution, then of the scan
    static constexpr int kVectors = kShared + kRows * kRowVectors;
    static_assert(kOwnWidth <= kWarp && kRows <= 4 && kWidth % 8 == 0 && kChannels % 8 == 0 && kRank % 8 == 0, "");
    static_assert(kOwn % kScanChannels == 0 && kOwn <= kStepWarps * kScanChannels, "every channel has a warp that scans it");
    static_assert(!Format::kNumbers || (kRows == 1 && kOwn % 8 == 0 && kWidth % Format::kPiece == 0 && kChannels % Format::kPiece == 0), "");
    static_assert(kStages % kFetchWarps == 0, "a stage is always filled by the same warp, which may look back at it");
};

// Shared memory of a block; the layers and the ring lie behind.
template <typename Shape>
struct StepShared {
    MemoryBarrier filled[Shape::kStages];
    MemoryBarrier emptied[Shape::kStages];
    // What a layer has beside the matrices that go through the ring.
    MemoryBarrier layer_filled;
    MemoryBarrier layer_emptied;
    MemoryBarrier scaled;
    // Until then nobody looks for what all blocks give: a look is traffic too, and on the very lines that are to be written.
    MemoryBarrier hidden_given;
    MemoryBarrier inner_given;
    MemoryBarrier projected_there;
    __align__(16) unsigned char scan_weight[Shape::kScanProducts * Shape::kScanPieces * Shape::kScanPieceBytes];
    __align__(16) unsigned char delta_weight[Shape::kDeltaProducts * Shape::kDeltaPieces * Shape::kDeltaPieceBytes];
    __align__(16) float vectors[Shape::kVectors][Shape::kOwn];
    __align__(16) bf16 scan_scales[Shape::kScanProducts * kStepSmallOutputs][Shape::kScanGroups];
    __align__(16) bf16 delta_scales[Shape::kOwn * Shape::kDeltaGroups];
    float scale[Shape::kRows];
    // u of each warp, and low with B and C behind it, as left matrices.
    __align__(16) unsigned short u_words[kStepWarps][Shape::kRows][Shape::kLaneChannels * kWarp + 8];
    __align__(16) unsigned short projected[Shape::kRows][Shape::kProjected];
    __align__(16) unsigned int inputs[kStepWarps][Shape::kRows][Shape::kInputs];
    float input_units[kStepWarps][Shape::kMostPieces];
    // The warps' sums.
    float in_sums[kStepWarps][Shape::kRows][Shape::kInProducts * kStepOutputs];
    float out_sums[kStepWarps][Shape::kRows][Shape::kOutProducts * kStepOutputs];
};

}  // namespace mamba
