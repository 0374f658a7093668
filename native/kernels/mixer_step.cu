// mixer_step.cu: what stands between the two large projections of a block (Mamba, figure 3), for one token of each sequence.
//
//   u = silu(conv1d(x))   (low, B, C) = u scan_weight^T   delta = softplus(low delta_weight^T + delta_bias)
//   h = exp(delta A) h + delta u B   y = (C h + D u) silu(z)
//
//   x, z, y (rows, channels)   scan_weight (rank + 2 states, channels)   delta_weight (channels, rank)   conv_weight (kWidth, channels), fp32
//   The two weights are floats of the type of activations, or numbers of 8 or 4 bits times scales (see mamba/quantized.cuh).
//   A (states, channels)   D, delta_bias, conv_bias (1, channels)   states of convolution and scan as the updates of each have them
//
// Two kernels, since every channel needs all of u: between them lie the shares of (low, B, C), (rows, slices, rank + 2 states), fp32.
//   mixer_step_project   a block has a slice of the channels and 16 outputs, a warp each: u of the slice, made anew for every 16 outputs,
//                        which costs less than a kernel of its own; then the warp's share of its output
//   mixer_step_advance   a block has 32 channels of a row: adds up the shares, delta of its channels, their states, y
// All states are written by the second kernel, when the first has ended; so they may be in place.
// Both are bound by latency, so all that does not come of the kernels just before is read before those end; and both let the next kernel
// start at once, whose weights may come while memory is idle. Rows and their parts start at
// multiples of 16 bytes: channels and rank are multiples of 8.
#include "mamba/causal_conv.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/quantized.cuh"
#include "mamba/reductions.cuh"
#include "mamba/sequences.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct MixerStepParams {
    const void* x;
    const void* z;
    const float* conv_weight;
    const float* conv_bias;  // or null
    const float* conv_state;
    float* next_conv_state;
    WeightMatrix scan_weight;
    WeightMatrix delta_weight;
    const float* delta_bias;
    const float* a;
    const float* d;
    const float* state;
    float* next_state;
    float* shares;
    void* y;
    long long x_stride;
    long long z_stride;
    long long conv_weight_stride;
    long long conv_state_stride;
    long long next_conv_state_stride;
    long long a_stride;
    long long state_stride;
    long long next_state_stride;
    long long y_stride;
    SequenceTable sequences;
    int rows;
    int channels;
    int rank;
    int states;
    int slices;
};

constexpr int kMixerPiece = 8;      // elements that a lane reads at once
constexpr int kMixerOutputs = 16;   // of a block of mixer_step_project
constexpr int kMixerChannels = 32;  // of a block of mixer_step_advance
constexpr int kMixerParts = 8;      // threads that share a channel there
constexpr int kMixerStates = 16;    // most
constexpr int kMixerRank = 256;     // most
constexpr int kMixerSlices = 16;    // most

// Neighbours of a row of weights, as a lane holds them; nothing behind the row's end.
template <typename Weight>
struct MixerWeights {
    Stored<Weight, kMixerPiece> stored;

    __device__ __forceinline__ void load(const WeightMatrix& matrix, int row, int column)
    {
        if (column < matrix.columns) {
            mamba::load<Access::read_once>(reinterpret_cast<const Weight*>(matrix.values + row * matrix.row_bytes) + column, stored);
        } else {
            stored = {};
        }
    }

    __device__ __forceinline__ float dot(const float* values) const
    {
        float weight[kMixerPiece];
        widen(stored, weight);
        return sum(weight, values);
    }

    static __device__ __forceinline__ float sum(const float (&weight)[kMixerPiece], const float* values)
    {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < kMixerPiece; ++i) {
            sum = fmaf(values[i], weight[i], sum);
        }
        return sum;
    }
};

// Numbers of one group.
template <int kBits>
struct MixerWeights<Quantized<kBits>> {
    Piece<kMixerPiece * kBits / 8> numbers;
    bf16 scale;

    __device__ __forceinline__ void load(const WeightMatrix& matrix, int row, int column)
    {
        QuantizedRow of(matrix, row);
        if (column < matrix.columns) {
            load_piece<Access::read_once>(of.values + column * kBits / 8, numbers);
            scale = of.scales[column >> of.group_shift];
        } else {
            numbers = {};
            scale = {};
        }
    }

    __device__ __forceinline__ float dot(const float* values) const
    {
        float weight[kMixerPiece];
        widen_numbers<kBits>(numbers.words, weight);
        return MixerWeights<float>::sum(weight, values) * to_float(scale);
    }
};

// One channel's convolution.
template <typename T, int kWidth>
struct MixerConvolution {
    ConvolutionWindow<T, kWidth, 1> window;

    __device__ __forceinline__ void load_parameters(const MixerStepParams& p, int channel)
    {
        window.load_parameters(
            p.conv_weight + channel, p.conv_weight_stride, p.conv_bias != nullptr ? p.conv_bias + channel : nullptr);
    }

    __device__ __forceinline__ void load_state(const MixerStepParams& p, int row, int channel)
    {
        window.load_state(p.conv_state + first_row(p, row) * p.conv_state_stride + channel, p.conv_state_stride);
    }

    static __device__ __forceinline__ float input(const MixerStepParams& p, int row, int channel)
    {
        return to_float(static_cast<const T*>(p.x)[row * p.x_stride + channel]);
    }

    // u, and the input becomes the last one.
    __device__ __forceinline__ float step(float input)
    {
        float x[1] = {input};
        float u[1];
        window.step(x, true, u);
        return u[0];
    }

    __device__ __forceinline__ void store_state(const MixerStepParams& p, int row, int channel) const
    {
        float* to = p.next_conv_state + first_row(p, row) * p.next_conv_state_stride + channel;
#pragma unroll
        for (int k = 0; k < kWidth - 1; ++k) {
            to[k * p.next_conv_state_stride] = window.history[k][0];
        }
    }

    static __device__ __forceinline__ long long first_row(const MixerStepParams& p, int row)
    {
        return static_cast<long long>(p.sequences.slot(row)) * (kWidth - 1);
    }
};

template <typename T, typename Weight, int kWidth, int kPieces, int kRows>
__global__ void __launch_bounds__(512) mixer_step_project(const __grid_constant__ MixerStepParams p)
{
    let_next_grid_start();
    constexpr int kSlice = kPieces * kWarp * kMixerPiece;
    __shared__ __align__(16) float inner[kRows][kSlice];
    int lane = static_cast<int>(threadIdx.x) % kWarp;
    int slice = static_cast<int>(blockIdx.x) % p.slices;
    int output = static_cast<int>(blockIdx.x) / p.slices * kMixerOutputs + static_cast<int>(threadIdx.x) / kWarp;
    int outputs = p.rank + 2 * p.states;
    int thread = static_cast<int>(threadIdx.x);
    int channel = slice * kSlice + thread;
    bool convolves = thread < kSlice && channel < p.channels;

    MixerWeights<Weight> weights[kPieces];
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
        weights[piece].load(p.scan_weight, min(output, outputs - 1), slice * kSlice + (piece * kWarp + lane) * kMixerPiece);
    }
    // The parameters are the same in all rows; the states of kRows rows are on their way at once.
    MixerConvolution<T, kWidth> convolutions[kRows];
    auto load_states = [&](int first) {
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            if (convolves && first + row < p.rows) {
                convolutions[row].load_state(p, first + row, channel);
            }
        }
    };
    if (convolves) {
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            convolutions[row].load_parameters(p, channel);
        }
    }
    load_states(0);

    wait_for_earlier_grids();
    for (int first = 0; first < p.rows; first += kRows) {
        if (first > 0) {
            __syncthreads();
            load_states(first);
        }
        float x[kRows];
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            x[row] = convolves && first + row < p.rows ? convolutions[row].input(p, first + row, channel) : 0.0f;
        }
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            if (thread < kSlice) {
                inner[row][thread] = convolves && first + row < p.rows ? convolutions[row].step(x[row]) : 0.0f;
            }
        }
        __syncthreads();
        float sums[kRows];
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            sums[row] = 0.0f;
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                sums[row] += weights[piece].dot(inner[row] + (piece * kWarp + lane) * kMixerPiece);
            }
        }
        float sum = lane_sums<kRows, kWarp, 1>(sums, lane);
        int row = first + lane / (kWarp / kRows);
        if (lane % (kWarp / kRows) == 0 && output < outputs && row < p.rows) {
            p.shares[(static_cast<long long>(row) * p.slices + slice) * outputs + output] = sum;
        }
    }
}

template <typename T, typename Weight, int kWidth>
__global__ void __launch_bounds__(kMixerChannels* kMixerParts) mixer_step_advance(const __grid_constant__ MixerStepParams p)
{
    constexpr int kStates = kMixerStates / kMixerParts;  // of a thread, most
    constexpr int kDotLanes = kMixerParts;               // neighbours that share the delta of a channel
    constexpr int kDotPieces = kMixerRank / kMixerPiece / kDotLanes;
    __shared__ __align__(16) float projected[kMixerRank + 2 * kMixerStates];
    __shared__ float u_of[kMixerChannels];
    __shared__ float delta_of[kMixerChannels];
    __shared__ float sums[kMixerParts][kMixerChannels];

    let_next_grid_start();
    int thread = static_cast<int>(threadIdx.x);
    int row = static_cast<int>(blockIdx.y);
    int first_channel = static_cast<int>(blockIdx.x) * kMixerChannels;
    int in_block = thread % kMixerChannels;
    int part = thread / kMixerChannels;
    int channel = first_channel + in_block;
    bool exists = channel < p.channels;
    int outputs = p.rank + 2 * p.states;
    long long state_row = static_cast<long long>(p.sequences.slot(row)) * p.states;

    // A warp makes the deltas of four channels.
    int dot_lane = thread % kWarp % kDotLanes;
    int dot_in_block = thread / kDotLanes;
    MixerWeights<Weight> weights[kDotPieces];
#pragma unroll
    for (int piece = 0; piece < kDotPieces; ++piece) {
        weights[piece].load(
            p.delta_weight, min(first_channel + dot_in_block, p.channels - 1), (piece * kDotLanes + dot_lane) * kMixerPiece);
    }
    float h[kStates];
    float a[kStates];
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
        int n = part + k * kMixerParts;
        bool is_state = exists && n < p.states;
        h[k] = is_state ? p.state[(state_row + n) * p.state_stride + channel] : 0.0f;
        a[k] = is_state ? p.a[n * p.a_stride + channel] : 0.0f;
    }
    MixerConvolution<T, kWidth> convolution;
    float bias = 0.0f;
    float skip = 0.0f;
    float z = 0.0f;
    if (exists) {
        bias = p.delta_bias[channel];
        if (part == 0) {
            convolution.load_parameters(p, channel);
            convolution.load_state(p, row, channel);
            skip = p.d[channel];
        }
    }

    wait_for_earlier_grids();
    if (exists && part == 0) {
        z = to_float(static_cast<const T*>(p.z)[row * p.z_stride + channel]);
        u_of[in_block] = convolution.step(convolution.input(p, row, channel));
    }
    for (int i = thread; i < outputs; i += kMixerChannels * kMixerParts) {
        const float* shares = p.shares + static_cast<long long>(row) * p.slices * outputs + i;
        // All on their way at once: one after the other they would take as many times as long.
        float share[kMixerSlices];
#pragma unroll
        for (int slice = 0; slice < kMixerSlices; ++slice) {
            share[slice] = slice < p.slices ? shares[slice * outputs] : 0.0f;
        }
        float sum = share[0];
#pragma unroll
        for (int slice = 1; slice < kMixerSlices; ++slice) {
            sum += share[slice];
        }
        projected[i] = sum;
    }
    if (exists && part == 0) {
        convolution.store_state(p, row, channel);
    }
    __syncthreads();

    float sum = 0.0f;
#pragma unroll
    for (int piece = 0; piece < kDotPieces; ++piece) {
        int column = (piece * kDotLanes + dot_lane) * kMixerPiece;
        if (column < p.rank) {
            sum += weights[piece].dot(projected + column);
        }
    }
#pragma unroll
    for (int distance = kDotLanes / 2; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(kAllLanes, sum, distance);
    }
    if (dot_lane == 0) {
        delta_of[dot_in_block] = sum;
    }
    __syncthreads();

    float y = 0.0f;
    if (exists) {
        float delta = softplus_for<T>(delta_of[in_block] + bias);
        float delta_u = delta * u_of[in_block];
#pragma unroll
        for (int k = 0; k < kStates; ++k) {
            int n = part + k * kMixerParts;
            if (n < p.states) {
                float decay = exp2_for<T>(delta * (a[k] * kLog2E));
                float next = fmaf(decay, h[k], delta_u * projected[p.rank + n]);
                p.next_state[(state_row + n) * p.next_state_stride + channel] = next;
                y = fmaf(next, projected[p.rank + p.states + n], y);
            }
        }
    }
    sums[part][in_block] = y;
    __syncthreads();
    if (exists && part == 0) {
#pragma unroll
        for (int i = 1; i < kMixerParts; ++i) {
            y += sums[i][in_block];
        }
        y = fmaf(skip, u_of[in_block], y) * silu_for<T>(z);
        static_cast<T*>(p.y)[row * p.y_stride + channel] = from_float<T>(y);
    }
}

}  // namespace mamba
