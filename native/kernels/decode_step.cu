// decode_step.cu: one token of each of up to four sequences through a whole model, in one kernel.
//
//   residual = embedding[token];  for each layer: residual += block(norm(residual));  logits = norm(residual) head^T
//   block: (x, z) = in_weight h;  u = silu(conv(x));  (low, B, C) = scan_weight u;  delta = softplus(delta_weight low + delta_bias)
//          s = exp(delta A) s + delta u B;  out_weight ((C s + D u) silu(z))                            Mamba, figure 3 and section 3.2
//
//   all weights (outputs, inputs)   states of convolution and scan as the updates of each have them   logits (rows, vocabulary), fp32
//
// The weights are read once, and nothing else counts beside them in a large model; in a small one, the way from one layer to the next does.
// So the grid stays: a block a multiprocessor. Each owns some channels of every layer and some of the residual stream, whose values it
// keeps, and some of the vocabulary. Three of its warps do nothing but fetch: all weights that the block will need, in their order, through
// all layers, into a ring of stages in shared memory; they never wait for a result, only for room. Eight warps take what lies there. One
// listens for the scale of the next norm, and fetches what is small of a layer.
//
// Five times a layer values go from block to block, through the L2, as flagged words, without a barrier (flagged_words.cuh):
//   hidden     the residual stream times the norm's weights; its owner gives it to all
//   squares    each block's sum of squares of the residual stream, to all; the scale is needed only behind in_weight
//   shares     each block's sums for (low, B, C) over its own channels, to the block that adds them all up
//   projected  (low, B, C), to all
//   inner      the gated output of the scan, to all
// x, z, u, delta and the scan's states never leave the block that owns the channel.
//
// A look that comes too early costs more than it finds: it is traffic on the very lines that are to be written. So a block looks only once
// it has given its own part, some hundred cycles later, and by few warps (StepPauses). On an H200 a step of 130m takes 40 us more where each
// looks at once, and 20 us more where each waits 600 cycles. What can be done meanwhile is: while shares and (low, B, C) are on their way,
// what z needs of in_weight goes through the ring, so that memory is not idle; of 1.4b this is a tenth of the step.
//
// All weights are bf16, or numbers of 8 or 4 bits times scales; step_weights.cuh tells how they are multiplied. A warp has the same eighth of
// the inputs of a stage in all products of a phase: so it waits for just those, and the warps' sums of an output are added at the end.
// Between that sum and the next values that go to others no warp waits for another: each makes u of all the block's channels for itself.
// How much may be on its way from memory at once is bounded (kStepInFlight): what is needed to keep memory busy and no more, since the flagged
// words queue behind it.
#include "mamba/async_copy.cuh"
#include "mamba/causal_conv.cuh"
#include "mamba/flagged_words.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/memory_barrier.cuh"
#include "mamba/mma.cuh"
#include "mamba/named_barrier.cuh"
#include "mamba/reductions.cuh"
#include "mamba/sequences.cuh"
#include "mamba/step_weights.cuh"
#include "mamba/vectors.cuh"

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
constexpr int kFetchThreads = kFetchWarps * kWarp;
constexpr int kListenThreads = kWarp;  // for the scale of the norm; they fetch what is small
constexpr int kStepBlockThreads = kStepThreads + kFetchThreads + kListenThreads;
constexpr int kStepInFlight = 2;  // stages of a warp that fetches
constexpr int kStepThinInFlight = 6;  // where stages have few rows
constexpr int kStepThinRows = 4;
constexpr int kStepSmallInFlight = 4;  // pieces of eight rows of scan_weight or delta_weight
constexpr int kStepSmallOutputs = 8;  // of a product with scan_weight or delta_weight, where they are the right matrix
constexpr int kStepConvWidth = 4;
constexpr int kStepScanInputs = 16;   // channels of a product with scan_weight
constexpr int kStepDeltaInputs = 32;  // of two products with delta_weight

// Cycles from where a block has given its part until it looks for the others'. Where much is to be read, as of long vectors, or by many
// blocks at one time, as where the weights are soon there, looks that find nothing cost more than coming late does.
template <bool kLong>
struct StepPauses {
    static constexpr int kHidden = kLong ? 1500 : 400;
    static constexpr int kSquares = kLong ? 1700 : 1100;
    static constexpr int kShares = kLong ? 1300 : 900;
    static constexpr int kProjected = kLong ? 1200 : 800;
    static constexpr int kInner = kLong ? 1900 : 600;
    static constexpr int kIdle = kLong ? 2400 : 1600;  // what adding up takes, for a block that has nothing to add up
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
    using Pauses = StepPauses<Format::kNumbers || kWidth_ >= 2560>;
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

    // Rows first to count - 1 of a matrix, of which that of number i is row_of(i): 16 at a time, a stage for every chunk of their columns.
    template <int kColumns, typename RowOf>
    __device__ __forceinline__ void rows(const unsigned char* matrix, const bf16* scales, int first, int count, RowOf row_of)
    {
        using Format = typename Shape::Format;
        constexpr int kChunks = step_parts(kColumns, Format::kInputs);
        constexpr int kRowBytes = Format::row_bytes(kColumns);
        int all = step_parts(count - first, kStepOutputs) * kChunks;
#pragma unroll 1
        for (; turn < all; turn += kFetchWarps) {
            int first_row = first + turn / kChunks * kStepOutputs;
            int chunk = turn % kChunks;
            int byte = chunk * kStepRowBytes + lane * 16;
            unsigned char* stage = begin_stage(count - first_row <= kStepThinRows ? kStepThinInFlight : kStepInFlight);
            if (kRowBytes % kStepRowBytes == 0 || byte < kRowBytes) {
#pragma unroll
                for (int row = 0; row < kStepOutputs; ++row) {
                    if (first_row + row < count) {
                        const unsigned char* from = matrix + row_of(first_row + row) * static_cast<long long>(kRowBytes) + byte;
                        async_copy_16(stage + stage_offset(row, lane), from, 16);
                    }
                }
            }
            if constexpr (Format::kNumbers) {
                // Eight scales at a time where a row has so many, else two. Those that are not there are zero, since what they meet may be
                // anything.
                int groups = (kColumns + (1 << group_shift) - 1) >> group_shift;
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
        int groups = (Shape::kRank + (1 << p.group_shift) - 1) >> p.group_shift;
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

    // This warp's part of the products of its inputs with rows begin_row to count - 1 of a matrix, 16 at a time, which are the left matrix.
    // Of a small model all of it is under way at once, since each step of the way costs it more than the work does. What is at once has no
    // branch: of 2.8b in 8 bits, a step took half as long again where each stage was asked for whether it is there.
    template <int kColumns, int kPlaces>
    __device__ __forceinline__ void multiply(int begin_row, int count, float (&sums)[Shape::kRows][kPlaces])
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
        for (int first = begin_row; first < count; first += kTogether * kStepOutputs) {
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
                    return (product == 0 || first + product * kStepOutputs < count) && (kChunks % kAtOnce == 0 || begin + i < kChunks);
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
                    if (its_row < Shape::kRows && (product == 0 || output < count)) {
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

template <typename Shape>
__global__ void __launch_bounds__(kStepBlockThreads, 1) decode_step(const __grid_constant__ DecodeStepParams p)
{
    constexpr int kRows = Shape::kRows;
    constexpr int kOwn = Shape::kOwn;
    constexpr int kBlocks = Shape::kBlocks;
    constexpr int kSharedBytes = step_fill(sizeof(StepShared<Shape>), 128);
    static_assert(kSharedBytes <= Shape::kFixedBytes, "who launches it reckons with less shared memory than there is");
    extern __shared__ __align__(128) unsigned char step_memory[];
    StepShared<Shape>& shared = *reinterpret_cast<StepShared<Shape>*>(step_memory);
    auto* layers = reinterpret_cast<DecodeStepLayerParams*>(step_memory + kSharedBytes + Shape::kStages * Shape::kStageBytes);
    unsigned char* ring = step_memory + kSharedBytes;

    int thread = static_cast<int>(threadIdx.x);
    int lane = thread % kWarp;
    int warp = thread / kWarp;
    int block = static_cast<int>(blockIdx.x);
    int first_channel = block * kOwn;
    int own = Shape::kChannels % kOwn == 0 ? kOwn : min(kOwn, Shape::kChannels - first_channel);
    for (int i = thread; i < p.layer_count * static_cast<int>(sizeof(DecodeStepLayerParams) / 8); i += kStepBlockThreads) {
        reinterpret_cast<unsigned long long*>(layers)[i] = reinterpret_cast<const unsigned long long*>(p.layers)[i];
    }
    if (thread == 0) {
        for (int i = 0; i < Shape::kStages; ++i) {
            shared.filled[i].begin(kWarp);
            shared.emptied[i].begin(kStepWarps);
        }
        shared.layer_filled.begin(kListenThreads);
        shared.layer_emptied.begin(kStepWarps);
        shared.scaled.begin(1);
        shared.hidden_given.begin(kRows);
        shared.inner_given.begin(step_parts(own, Shape::kScanChannels));
        shared.projected_there.begin(1);
    }
    for (int i = thread; i < static_cast<int>(sizeof(shared.projected) / 2); i += kStepBlockThreads) {
        (&shared.projected[0][0])[i] = 0;
    }
    __syncthreads();

    int first_width = block * Shape::kOwnWidth;
    int own_width = max(0, min(Shape::kOwnWidth, Shape::kWidth - first_width));
    int first_word = block * p.own_words;
    int own_words = max(0, min(p.own_words, p.vocabulary - first_word));

    int copy = block % Shape::kCopies;
    int small_copy = block % kStepCopies;
    if (warp == kStepWarps + kFetchWarps) {
        wait_for_earlier_grids();
        LayerStream<Shape> stream{shared, p, first_channel, own, lane};
        stream.fetch(layers[0], 0);
        // The scale of every norm: all blocks' sums of squares.
        unsigned int number = *p.number;
        const FlaggedWord* from = p.squares + small_copy * kRows * kBlocks;
#pragma unroll 1
        for (int l = 0; l <= p.layer_count; ++l) {
            ++number;
            constexpr int kSquares = step_parts(kBlocks, kWarp);
            unsigned int squares[kRows * kSquares][1];
            auto place_of = [&](int i) {
                int its_block = lane + i % kSquares * kWarp;
                return i / kSquares < p.rows && its_block < kBlocks ? from + i / kSquares * kBlocks + its_block : nullptr;
            };
            shared.hidden_given.wait(l & 1);
            let_cycles_pass(cycles_now(), Shape::Pauses::kSquares);
            wait_for_words(place_of, number, squares);
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                float sum = 0.0f;
#pragma unroll
                for (int i = 0; i < kSquares; ++i) {
                    sum += __uint_as_float(squares[row * kSquares + i][0]);
                }
                sum = warp_sum(sum);
                if (lane == 0) {
                    shared.scale[row] = rsqrtf(sum / static_cast<float>(Shape::kWidth) + p.epsilon);
                }
            }
            if (lane == 0) {
                shared.scaled.arrive();
            }
            __syncwarp();
            if (l + 1 < p.layer_count) {
                stream.fetch(layers[l + 1], l + 1);
            }
        }
        return;
    }
    if (warp >= kStepWarps) {
        WeightStream<Shape> stream(shared, ring, p.group_shift);
#pragma unroll 1
        for (int l = 0; l < p.layer_count; ++l) {
            const DecodeStepLayerParams& layer = layers[l];
            auto row_of = [&](int i) {
                int channel = first_channel + (i < kOwn ? i : i - kOwn);
                return min(channel, Shape::kChannels - 1) + (i < kOwn ? 0 : Shape::kChannels);
            };
            stream.template rows<Shape::kWidth>(layer.in_weight, layer.in_scales, 0, 2 * kOwn, row_of);
            stream.template rows<Shape::kChannels>(layer.out_weight, layer.out_scales, 0, own_width, [&](int i) { return first_width + i; });
        }
        stream.template rows<Shape::kWidth>(p.head, p.head_scales, 0, own_words, [&](int i) { return first_word + i; });
        let_next_grid_start();
        return;
    }

    WeightReader<Shape> reader(shared, ring, p.group_shift);
    wait_for_earlier_grids();
    unsigned int number = *p.number;

    const FlaggedWord* hidden = p.hidden + copy * kRows * (Shape::kWidth / 2);
    const FlaggedWord* inner = p.inner + copy * kRows * (Shape::kChannels / 2);

    // The residual stream of row `warp`, a value a lane.
    float residual = 0.0f;
    bool owns_width = warp < p.rows && lane < own_width;
    auto norm_weight_of = [&](const float* norm_weight) { return owns_width ? norm_weight[first_width + lane] : 0.0f; };
    auto give_hidden = [&](float norm_weight) {
        if (warp < kRows) {
            float value = residual * norm_weight;
            float other = __shfl_down_sync(kAllLanes, value, 1);
            if (owns_width && lane % 2 == 0) {
                unsigned int pair = narrow_pair<bf16>(value, other);
#pragma unroll
                for (int i = 0; i < Shape::kCopies; ++i) {
                    store_flagged(p.hidden + ((i * kRows + warp) * Shape::kWidth + first_width + lane) / 2, pair, number);
                }
            }
            float square[1] = {residual * residual};
            constexpr int kLanes = Shape::kOwnWidth <= 8 ? 8 : kWarp;
            lane_sums<1, kLanes, 1>(square, lane);
            if (lane < kStepCopies && warp < p.rows) {
                store_flagged(p.squares + (lane * kRows + warp) * kBlocks + block, __float_as_uint(square[0]), number);
            }
            if (lane == 0) {
                shared.hidden_given.arrive();
            }
        }
    };
    ++number;
    if (owns_width) {
        residual = to_float(p.embedding[static_cast<long long>(p.token_ids[warp]) * Shape::kWidth + first_width + lane]);
    }
    give_hidden(norm_weight_of(layers[0].norm_weight));

    // In the convolution every warp has all channels, one or two a lane, so that none waits for another's. In the scan a warp has four or
    // eight, and of their states a lane has one part: by the last warps, since the first ones add up shares.
    constexpr int kLaneChannels = Shape::kLaneChannels;
    constexpr int kLaneRows = Shape::kScanParts / kRows;  // lanes of a channel that give the same row
    int scan_warp = kStepWarps - 1 - warp;
    bool scans = scan_warp * Shape::kScanChannels < own;
    int scan_channel = min(scan_warp * Shape::kScanChannels + lane % Shape::kScanChannels, kOwn - 1);
    int part = lane / Shape::kScanChannels;
    int scan_row = part / kLaneRows;
#pragma unroll 1
    for (int l = 0; l < p.layer_count; ++l) {
        const DecodeStepLayerParams& layer = layers[l];

        // x of the block's channels, which goes through the convolution.
        shared.hidden_given.wait(l & 1);
        let_cycles_pass(cycles_now(), Shape::Pauses::kHidden);
        reader.template wait_for_inputs<Shape::kWidth>(hidden, number, p.rows);
        reader.template multiply<Shape::kWidth>(0, Shape::kXRows, shared.in_sums[warp]);

        // What the layer has beside; waiting for it before the values would lengthen the pause.
        shared.layer_filled.wait(l & 1);
        ConvolutionWindow<bf16, kStepConvWidth, 1> convolution[kLaneChannels];
        float history[kRows][kLaneChannels][kStepConvWidth - 1];
#pragma unroll
        for (int k = 0; k < kLaneChannels; ++k) {
            int channel = min(lane + k * kWarp, kOwn - 1);
            convolution[k].load_parameters(&shared.vectors[Shape::kConvWeight][channel], kOwn, &shared.vectors[Shape::kConvBias][channel]);
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
#pragma unroll
                for (int h = 0; h < kStepConvWidth - 1; ++h) {
                    history[row][k][h] = shared.vectors[Shape::kShared + row * Shape::kRowVectors + h][channel];
                }
            }
        }
        constexpr int kRounds = step_parts(Shape::kScanProducts, kStepWarps);
        Piece<8> scan_weights[kRounds][Shape::kScanPieces];
#pragma unroll
        for (int round = 0; round < kRounds; ++round) {
            int product = min(round * kStepWarps + warp, Shape::kScanProducts - 1);
#pragma unroll
            for (int piece = 0; piece < Shape::kScanPieces; ++piece) {
                const unsigned char* from = shared.scan_weight + (product * Shape::kScanPieces + piece) * Shape::kScanPieceBytes;
                if constexpr (Shape::Format::kNumbers) {
                    int channel = piece * kStepScanInputs + lane % 4 * 4;
                    int group = ((first_channel + channel) >> p.group_shift) - (first_channel >> (p.group_shift + 1)) * 2;
                    bf16 scale = shared.scan_scales[product * kStepSmallOutputs + lane / 4][min(group, Shape::kScanGroups - 1)];
                    int word = Shape::kBits == 8 ? lane : lane / 2;
                    scaled_pairs<Shape::kBits>(
                        reinterpret_cast<const unsigned int*>(from)[word], lane % 2, scale, scan_weights[round][piece].words);
                } else {
                    load_piece<Access::plain>(from + lane * 8, scan_weights[round][piece]);
                }
            }
        }

        shared.scaled.wait(l & 1);
        step_sync();
        float u[kRows][kLaneChannels];
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
#pragma unroll
            for (int k = 0; k < kLaneChannels; ++k) {
                int channel = lane + k * kWarp;
                u[row][k] = 0.0f;
                if (row < p.rows && channel < own) {
                    float x[1] = {sum_of_warps(shared.in_sums, row, channel) * shared.scale[row]};
                    float y[1];
#pragma unroll
                    for (int h = 0; h < kStepConvWidth - 1; ++h) {
                        convolution[k].history[h][0] = history[row][k][h];
                    }
                    convolution[k].step(x, true, y);
                    u[row][k] = y[0];
#pragma unroll
                    for (int h = 0; h < kStepConvWidth - 1; ++h) {
                        history[row][k][h] = convolution[k].history[h][0];
                    }
                }
                shared.u_words[warp][row][channel] = from_float<bf16>(u[row][k]).bits;
            }
        }
        __syncwarp();

        // The block's shares of (low, B, C).
        {
            int row = lane / 4;
            Piece<8> left[Shape::kScanPieces] = {};
#pragma unroll
            for (int piece = 0; piece < Shape::kScanPieces; ++piece) {
                if (row < kRows) {
                    load_piece<Access::plain>(&shared.u_words[warp][row][piece * kStepScanInputs + lane % 4 * 4], left[piece]);
                }
            }
            float sums[kRounds][4] = {};
#pragma unroll
            for (int piece = 0; piece < Shape::kScanPieces; ++piece) {
                const unsigned int a[4] = {left[piece].words[0], 0, left[piece].words[1], 0};
#pragma unroll
                for (int round = 0; round < kRounds; ++round) {
                    multiply_accumulate<bf16>(sums[round], a, scan_weights[round][piece].words);
                }
            }
#pragma unroll
            for (int round = 0; round < kRounds; ++round) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    int output = (round * kStepWarps + warp) * kStepSmallOutputs + lane % 4 * 2 + i;
                    if (row < kRows && output < Shape::kOutputs) {
                        int value = output * kRows + row;
                        int owner = value / Shape::kOwnValues;
                        int place = (owner * kBlocks + block) * Shape::kOwnValues + value % Shape::kOwnValues;
                        store_flagged(p.shares + place, __float_as_uint(sums[round][i]), number);
                    }
                }
            }
        }

        // What z needs of in_weight is read while others' values are on their way: so memory is never idle.
        unsigned int given = cycles_now();
        reader.template multiply<Shape::kWidth>(Shape::kXRows, Shape::kZRows, shared.in_sums[warp]);

        // The values that this block adds up.
#pragma unroll
        for (int round = 0; round < step_parts(Shape::kOwnValues, kStepWarps); ++round) {
            int k = round * kStepWarps + warp;
            int value = block * Shape::kOwnValues + k;
            if (k < Shape::kOwnValues && value < Shape::kValues) {
                constexpr int kShares = step_parts(kBlocks, kWarp);
                unsigned int shares[kShares][1];
                const FlaggedWord* from = p.shares + (block * kBlocks + lane) * Shape::kOwnValues + k;
                auto place_of = [&](int i) { return lane + i * kWarp < kBlocks ? from + i * (kWarp * Shape::kOwnValues) : nullptr; };
                let_cycles_pass(given, Shape::Pauses::kShares);
                wait_for_words(place_of, number, shares);
                float sum = 0.0f;
#pragma unroll
                for (int i = 0; i < kShares; ++i) {
                    sum += __uint_as_float(shares[i][0]);
                }
                sum = warp_sum(sum);
                if (lane < kStepCopies) {
                    store_flagged(p.projected + lane * Shape::kValues + value, __float_as_uint(sum), number);
                }
            }
        }

        unsigned int added = block * Shape::kOwnValues < Shape::kValues ? cycles_now() : given + Shape::Pauses::kIdle;
        reader.template multiply<Shape::kWidth>(Shape::kZRows, 2 * kOwn, shared.in_sums[warp]);

        // What the scan needs beside (low, B, C).
        float decay[Shape::kPartStates];
        float states[kRows][Shape::kPartStates];
        float own_u[kRows];
        Piece<16> delta_weights[Shape::kDeltaPieces];
        float delta_bias = 0.0f;
        float skip = 0.0f;
        if (scans) {
            delta_bias = shared.vectors[Shape::kDeltaBias][scan_channel];
            skip = part == 0 ? shared.vectors[Shape::kSkip][scan_channel] : 0.0f;
#pragma unroll
            for (int k = 0; k < Shape::kPartStates; ++k) {
                int n = min(part + k * Shape::kScanParts, Shape::kStates - 1);
                decay[k] = shared.vectors[Shape::kA + n][scan_channel] * kLog2E;
#pragma unroll
                for (int row = 0; row < kRows; ++row) {
                    states[row][k] = shared.vectors[Shape::kShared + row * Shape::kRowVectors + kStepConvWidth - 1 + n][scan_channel];
                }
            }
#pragma unroll
            for (int piece = 0; piece < Shape::kDeltaPieces; ++piece) {
                const unsigned char* from = shared.delta_weight
                    + (scan_warp * Shape::kScanChannels / kStepSmallOutputs * Shape::kDeltaPieces + piece) * Shape::kDeltaPieceBytes;
                if constexpr (Shape::Format::kNumbers) {
                    int channel = scan_warp * Shape::kScanChannels / kStepSmallOutputs * kStepSmallOutputs + lane / 4;
                    int groups = (Shape::kRank + (1 << p.group_shift) - 1) >> p.group_shift;
                    bf16 scale = shared.delta_scales[min(channel, kOwn - 1) * groups + (piece * kStepDeltaInputs >> p.group_shift)];
                    const unsigned int* words = reinterpret_cast<const unsigned int*>(from) + lane * (Shape::kBits / 4);
#pragma unroll
                    for (int k = 0; k < 2; ++k) {
                        unsigned int pairs[2];
                        scaled_pairs<Shape::kBits>(words[Shape::kBits == 8 ? k : 0], k, scale, pairs);
                        delta_weights[piece].words[2 * k] = pairs[0];
                        delta_weights[piece].words[2 * k + 1] = pairs[1];
                    }
                } else {
                    load_piece<Access::plain>(from + lane * 16, delta_weights[piece]);
                }
            }
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                own_u[row] = __shfl_sync(kAllLanes, u[row][0], scan_channel % kWarp);
#pragma unroll
                for (int k = 1; k < kLaneChannels; ++k) {
                    float other = __shfl_sync(kAllLanes, u[row][k], scan_channel % kWarp);
                    own_u[row] = scan_channel / kWarp == k ? other : own_u[row];
                }
            }
        }
        __syncwarp();
        if (lane == 0) {
            shared.layer_emptied.arrive();
        }

        if constexpr (Shape::kXRows < 2 * kOwn) {
            step_sync();
        }
        float gate = scans ? silu_for<bf16>(sum_of_warps(shared.in_sums, scan_row, kOwn + scan_channel) * shared.scale[scan_row]) : 0.0f;

        // The first warp gets all of them for the block.
        if (warp == 0) {
            let_cycles_pass(added, Shape::Pauses::kProjected);
            constexpr int kRead = step_parts(Shape::kValues, kWarp);
            unsigned int projected[kRead][1];
            const FlaggedWord* from = p.projected + small_copy * Shape::kValues + lane;
            auto place_of = [&](int i) { return lane + i * kWarp < Shape::kValues ? from + i * kWarp : nullptr; };
            wait_for_words(place_of, number, projected);
#pragma unroll
            for (int k = 0; k < kRead; ++k) {
                int value = lane + k * kWarp;
                if (value < Shape::kValues) {
                    shared.projected[value % kRows][value / kRows] = from_float<bf16>(__uint_as_float(projected[k][0])).bits;
                }
            }
            __syncwarp();
            if (lane == 0) {
                shared.projected_there.arrive();
            }
        }

        // Meanwhile others store what the convolution leaves.
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
#pragma unroll
            for (int k = 0; k < kLaneChannels; ++k) {
                int channel = lane + k * kWarp;
                if (warp == 1 + row && row < p.rows && channel < own) {
                    long long first = static_cast<long long>(p.sequences.slot(row)) * (kStepConvWidth - 1);
                    float* to = layer.next_conv_state + first * Shape::kChannels + first_channel + channel;
#pragma unroll
                    for (int h = 0; h < kStepConvWidth - 1; ++h) {
                        to[h * Shape::kChannels] = history[row][k][h];
                    }
                }
            }
        }

        // The scan's step.
        if (scans) {
            shared.projected_there.wait(l & 1);
            // The deltas of eight channels, this warp's among them.
            float sums[2][4] = {};
#pragma unroll
            for (int piece = 0; piece < Shape::kDeltaPieces; ++piece) {
                Piece<16> low = {};
                if (lane / 4 < kRows) {
                    load_piece<Access::plain>(&shared.projected[lane / 4][piece * 32 + lane % 4 * 8], low);
                }
#pragma unroll
                for (int k = 0; k < 2; ++k) {
                    const unsigned int left[4] = {low.words[2 * k], 0, low.words[2 * k + 1], 0};
                    const unsigned int right[2] = {delta_weights[piece].words[2 * k], delta_weights[piece].words[2 * k + 1]};
                    multiply_accumulate<bf16>(sums[k], left, right);
                }
            }
            float even = sums[0][0] + sums[1][0];
            float odd = sums[0][1] + sums[1][1];
            float y[kRows];
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                int from_lane = row * 4 + scan_channel % kStepSmallOutputs / 2;
                float its_even = __shfl_sync(kAllLanes, even, from_lane);
                float its_odd = __shfl_sync(kAllLanes, odd, from_lane);
                float delta = softplus_for<bf16>((scan_channel % 2 == 0 ? its_even : its_odd) + delta_bias);
                y[row] = skip * own_u[row];
#pragma unroll
                for (int k = 0; k < Shape::kPartStates; ++k) {
                    int n = part + k * Shape::kScanParts;
                    if (n < Shape::kStates) {
                        float b = to_float(bf16{shared.projected[row][Shape::kRank + n]});
                        float c = to_float(bf16{shared.projected[row][Shape::kRank + Shape::kStates + n]});
                        states[row][k] = fmaf(exp2_approx(delta * decay[k]), states[row][k], delta * own_u[row] * b);
                        y[row] = fmaf(states[row][k], c, y[row]);
                    }
                }
            }
            lane_sums<kRows, Shape::kScanParts, Shape::kScanChannels>(y, part);
            float gated = y[0] * gate;
            float other = __shfl_down_sync(kAllLanes, gated, 1);
            // Each of the lanes that have a row's sum gives as many copies of it.
            static_assert(Shape::kCopies % kLaneRows == 0, "");
            if (scan_row < p.rows && lane % 2 == 0) {
#pragma unroll
                for (int i = 0; i < Shape::kCopies / kLaneRows; ++i) {
                    int place = ((part % kLaneRows + i * kLaneRows) * kRows + scan_row) * Shape::kChannels + first_channel + scan_channel;
                    store_flagged(p.inner + place / 2, narrow_pair<bf16>(gated, other), number);
                }
            }
            if (lane == 0) {
                shared.inner_given.arrive();
            }
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                if (row < p.rows) {
                    long long first = static_cast<long long>(p.sequences.slot(row)) * Shape::kStates;
                    float* to = layer.next_state + first * Shape::kChannels + first_channel + scan_channel;
#pragma unroll
                    for (int k = 0; k < Shape::kPartStates; ++k) {
                        int n = part + k * Shape::kScanParts;
                        if (n < Shape::kStates) {
                            to[n * Shape::kChannels] = states[row][k];
                        }
                    }
                }
            }
        } else {
            shared.inner_given.wait(l & 1);
        }

        // The block's part of the residual stream.
        {
            float norm_weight = norm_weight_of(l + 1 < p.layer_count ? layers[l + 1].norm_weight : p.final_norm_weight);
            let_cycles_pass(cycles_now(), Shape::Pauses::kInner);
            reader.template wait_for_inputs<Shape::kChannels>(inner, number, p.rows);
            reader.template multiply<Shape::kChannels>(0, own_width, shared.out_sums[warp]);
            step_sync();
            if (owns_width) {
                residual += sum_of_warps(shared.out_sums, warp, lane);
            }
            ++number;
            give_hidden(norm_weight);
        }
    }

    shared.hidden_given.wait(p.layer_count & 1);
    reader.template wait_for_inputs<Shape::kWidth>(hidden, number, p.rows);
    shared.scaled.wait(p.layer_count & 1);
#pragma unroll 1
    for (int begin = 0; begin < own_words; begin += Shape::kInProducts * kStepOutputs) {
        int count = min(own_words - begin, Shape::kInProducts * kStepOutputs);
        step_sync();
        reader.template multiply<Shape::kWidth>(0, count, shared.in_sums[warp]);
        step_sync();
        for (int i = thread; i < kRows * Shape::kInProducts * kStepOutputs; i += kStepThreads) {
            int row = i / (Shape::kInProducts * kStepOutputs);
            int output = i % (Shape::kInProducts * kStepOutputs);
            if (row < p.rows && output < count) {
                p.logits[row * p.logits_stride + first_word + begin + output] = sum_of_warps(shared.in_sums, row, output) * shared.scale[row];
            }
        }
    }
    // Whoever gets here knows that all blocks have read it.
    if (block == 0 && thread == 0) {
        *p.number = number;
    }
}

}  // namespace mamba
