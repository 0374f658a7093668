// causal_conv1d_forward.cu: depthwise causal convolution along packed sequences, then SiLU where it is asked for.
//
//   y[t, c] = silu(bias[c] + sum over k of weight[k, c] * x[t - kWidth + 1 + k, c])
//
//   x, y (tokens, channels)   weight (kWidth, channels)   bias (channels) or none
//   initial and final state (slots * (kWidth - 1), channels), fp32, oldest input first; the two may be one, and either may be none
//
// One thread owns kVec channels and walks a chunk of a sequence with the last kWidth - 1 inputs in registers, so that x is read once but for
// the kWidth - 1 inputs before a chunk. Nothing is shared between channels, so shared memory would only cost. kAhead steps are in flight.
// Phases: 1. history: from the state at a sequence's start, else from x   2. the first chunk's block leaves the final state, since it alone
// has read the initial one, which may lie in the same memory   3. walk.
// Memory is the limit: 4 bytes an element in 16-bit types. Measured on an H200 in bf16 at width 4: 8 bytes a thread and step, 8 steps ahead
// and 12 blocks of 64 threads a multiprocessor make 88 to 90 % of copy bandwidth (8 x 2048 x 2048 in 39.4 us, 16 x 5120 x 2048 in 178);
// 16 bytes need twice the registers and made 78 %, and so did conditions between the steps of a tile, which keep them from overlapping.
#include "mamba/causal_conv.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/sequences.cuh"

namespace mamba {

struct CausalConv1dForwardParams {
    const void* x;
    const float* weight;
    const float* bias;
    const float* initial_state;
    float* final_state;
    void* y;
    long long x_stride;
    long long weight_stride;
    long long initial_state_stride;
    long long final_state_stride;
    long long y_stride;
    SequenceTable sequences;
    int channels;
};

// Steps of a block. A chunk reads the kWidth - 1 steps before it again, but shorter ones fill the card better.
constexpr unsigned int kChunk = 32;

template <typename T, int kWidth, bool kSilu, int kVec, int kAhead>
struct ConvolutionWalk {
    ConvolutionWindow<T, kWidth, kVec> window;
    Stored<T, kVec> ahead[kAhead];
    const T* from;  // the next step to load
    const T* last;  // the last step of the chunk: loaded again and again rather than asking whether there is another
    T* to;

    __device__ __forceinline__ void load_next(const CausalConv1dForwardParams& p, int i)
    {
        from = from < last ? from : last;
        load(from, ahead[i]);
        from += p.x_stride;
    }

    // kAhead steps, or where kWhole is false the first `steps` of them. Loads into the place of each the step kAhead later.
    template <bool kWhole>
    __device__ __forceinline__ void tile(const CausalConv1dForwardParams& p, int steps)
    {
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            float input[kVec];
            float output[kVec];
            widen(ahead[i], input);
            if (kWhole) {
                load_next(p, i);
            }
            window.step(input, kSilu, output);
            if (kWhole || i < steps) {
                store(to, output);
            }
            to += p.y_stride;
        }
    }
};

template <typename T, int kWidth, bool kSilu, int kVec, int kAhead>
__global__ void __launch_bounds__(64, 12) causal_conv1d_forward(const __grid_constant__ CausalConv1dForwardParams p)
{
    constexpr int kHistory = kWidth - 1;
    int channel = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kVec;
    wait_for_earlier_grids();
    // At once: the next kernel's blocks then take the places of the first of these that end.
    let_next_grid_start();
    SequenceChunk chunk(p.sequences, blockIdx.x, kChunk);
    long long start = p.sequences.start(chunk.sequence);
    long long length = p.sequences.end(chunk.sequence) - start;
    if (chunk.first >= length || channel >= p.channels) {
        return;
    }
    const T* x = static_cast<const T*>(p.x) + start * p.x_stride + channel;
    int steps = static_cast<int>(length - chunk.first < kChunk ? length - chunk.first : kChunk);

    ConvolutionWalk<T, kWidth, kSilu, kVec, kAhead> walk;
    walk.from = x + chunk.first * p.x_stride;
    walk.last = walk.from + (steps - 1) * p.x_stride;
    walk.to = static_cast<T*>(p.y) + (start + chunk.first) * p.y_stride + channel;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
        walk.load_next(p, i);
    }
    walk.window.load_parameters(p.weight + channel, p.weight_stride, p.bias != nullptr ? p.bias + channel : nullptr);
    long long state_row = static_cast<long long>(p.sequences.slot(chunk.sequence)) * kHistory;
    const float* initial_state =
        p.initial_state != nullptr ? p.initial_state + state_row * p.initial_state_stride + channel : nullptr;
    if (chunk.first == 0) {
        walk.window.load_state(initial_state, p.initial_state_stride);
    } else {
#pragma unroll
        for (int k = 0; k < kHistory; ++k) {
            load(x + (chunk.first - kHistory + k) * p.x_stride, walk.window.history[k]);
        }
    }
    if (chunk.first == 0 && p.final_state != nullptr) {
        float* final_state = p.final_state + state_row * p.final_state_stride + channel;
#pragma unroll
        for (int k = 0; k < kHistory; ++k) {
            // A sequence shorter than the state moves part of the old state up; rows are written after those before them were read.
            float input[kVec];
            long long t = length - kHistory + k;
            if (t >= 0) {
                load(x + t * p.x_stride, input);
            } else if (initial_state != nullptr) {
                load(initial_state + (kHistory + t) * p.initial_state_stride, input);
            } else {
#pragma unroll
                for (int i = 0; i < kVec; ++i) {
                    input[i] = 0.0f;
                }
            }
            store(final_state + k * p.final_state_stride, input);
        }
    }

    for (; steps >= kAhead; steps -= kAhead) {
        walk.template tile<true>(p, kAhead);
    }
    if (steps > 0) {
        walk.template tile<false>(p, steps);
    }
}

}  // namespace mamba
