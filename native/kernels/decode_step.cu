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
#include "mamba/causal_conv.cuh"
#include "mamba/flagged_words.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/mma.cuh"
#include "mamba/reductions.cuh"
#include "mamba/step_reader.cuh"
#include "mamba/step_shape.cuh"
#include "mamba/step_streams.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

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
            stream.template rows<Shape::kWidth>(layer.in_weight, layer.in_scales, 2 * kOwn, row_of);
            stream.template rows<Shape::kChannels>(layer.out_weight, layer.out_scales, own_width, [&](int i) { return first_width + i; });
        }
        stream.template rows<Shape::kWidth>(p.head, p.head_scales, own_words, [&](int i) { return first_word + i; });
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
                    int groups = step_groups(Shape::kRank, p.group_shift);
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
