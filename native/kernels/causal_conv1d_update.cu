// causal_conv1d_update.cu: the causal convolution's next output for one token of each sequence.
//
//   y[s, c] = silu(bias[c] + sum over k of weight[k, c] * (state of s, then x[s, c])[k])   and x enters the state of s, in place or elsewhere
//
//   x, y (sequences, channels)   weight (kWidth, channels)   bias (channels) or none   state (slots * (kWidth - 1), channels), fp32
//
// One thread a sequence and kVec channels; the arithmetic is that of causal_conv1d_forward.cu, bit for bit. State traffic is the limit: it is
// read and written once, 24 bytes an element at width 4.
#include "mamba/causal_conv.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/sequences.cuh"

namespace mamba {

struct CausalConv1dUpdateParams {
    const void* x;
    const float* weight;
    const float* bias;
    const float* state;
    float* next_state;  // may be state
    void* y;
    long long x_stride;
    long long weight_stride;
    long long state_stride;
    long long next_state_stride;
    long long y_stride;
    SequenceTable sequences;
    int channels;
    int silu;
};

template <typename T, int kWidth, int kVec>
__global__ void __launch_bounds__(64) causal_conv1d_update(const __grid_constant__ CausalConv1dUpdateParams p)
{
    constexpr int kHistory = kWidth - 1;
    int channel = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kVec;
    if (channel >= p.channels) {
        return;
    }
    int sequence = static_cast<int>(blockIdx.x);
    wait_for_earlier_grids();
    long long state_row = static_cast<long long>(p.sequences.slot(sequence)) * kHistory;
    const float* state = p.state + state_row * p.state_stride + channel;
    float* next_state = p.next_state + state_row * p.next_state_stride + channel;
    float input[kVec];
    float output[kVec];
    load(static_cast<const T*>(p.x) + sequence * p.x_stride + channel, input);
    ConvolutionWindow<T, kWidth, kVec> window;
    window.load_parameters(p.weight + channel, p.weight_stride, p.bias != nullptr ? p.bias + channel : nullptr);
    window.load_state(state, p.state_stride);
    let_next_grid_start();
    window.step(input, p.silu != 0, output);
    store(static_cast<T*>(p.y) + sequence * p.y_stride + channel, output);
#pragma unroll
    for (int k = 0; k < kHistory; ++k) {
        store(next_state + k * p.next_state_stride, window.history[k]);
    }
}

}  // namespace mamba
