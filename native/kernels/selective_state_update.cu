// selective_state_update.cu: one step of the selective scan for each sequence (Mamba, section 3.2, the recurrent mode), its state in place or elsewhere.
//
//   delta' = softplus(delta + bias);  h[n] = exp(delta' A[n]) h[n] + delta' u B[n];  y = (sum over n of C[n] h[n] + D u) silu(z)
//
//   u, delta, z, y (sequences, channels)   A (states, channels)   B, C (sequences, groups * states), or (states, channels) where constant
//   h (slots * states, channels); for complex A see state_numbers.cuh
//
// Threads of a row of the block have consecutive channels, so that states are read and written as they lie; kParts rows share the states of a
// channel and add up in shared memory, in order. Bound by the states' traffic: 8 bytes a state. kConstants: p tells which of B and C are
// constant, if any.
#include "mamba/fast_math.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/sequences.cuh"
#include "mamba/state_numbers.cuh"
#include "mamba/types.cuh"

namespace mamba {

struct SelectiveStateUpdateParams {
    const void* u;
    const void* delta;
    const float* a;
    const void* b;
    const void* c;
    const float* d;           // or null
    const void* z;            // or null
    const float* delta_bias;  // or null
    const float* state;
    float* next_state;  // may be state
    void* y;
    const float* a_imaginary;  // (states, channels); or null for real A
    long long u_stride;
    long long delta_stride;
    long long a_stride;
    long long b_stride;
    long long c_stride;
    long long z_stride;
    long long state_stride;
    long long next_state_stride;
    long long y_stride;
    long long a_imaginary_stride;
    SequenceTable sequences;
    int channels;
    int group_channels;  // channels that share B and C
    int blocks_of_sequence;
    int states;
    int delta_softplus;
    int constant_b;  // B belongs to the channel; of kConstants alone, as the next
    int constant_c;
};

constexpr int kUpdateChannels = 32;
constexpr int kUpdateParts = 4;

template <typename T, typename Number, bool kConstants>
__global__ void __launch_bounds__(kUpdateChannels * kUpdateParts) selective_state_update(const __grid_constant__ SelectiveStateUpdateParams p)
{
    __shared__ float sums[kUpdateParts][kUpdateChannels];
    int part = threadIdx.y;
    int channel = blockIdx.x % p.blocks_of_sequence * kUpdateChannels + threadIdx.x;
    long long sequence = blockIdx.x / p.blocks_of_sequence;
    bool exists = channel < p.channels;
    float u = 0.0f;
    wait_for_earlier_grids();
    let_next_grid_start();
    if (exists) {
        u = to_float(static_cast<const T*>(p.u)[sequence * p.u_stride + channel]);
        float delta = to_float(static_cast<const T*>(p.delta)[sequence * p.delta_stride + channel]);
        delta += p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f;
        delta = p.delta_softplus ? softplus_for<T>(delta) : delta;
        float delta_u = delta * u;
        long long slot = p.sequences.slot(static_cast<int>(sequence));
        long long state_row = slot * p.states * kParts<Number>;
        const float* state = p.state + state_row * p.state_stride + channel;
        float* next_state = p.next_state + state_row * p.next_state_stride + channel;
        long long group_column = static_cast<long long>(channel / p.group_channels) * p.states * kParts<Number>;
        const T* token_b = static_cast<const T*>(p.b) + sequence * p.b_stride + group_column;
        const T* token_c = static_cast<const T*>(p.c) + sequence * p.c_stride + group_column;
        float sum = 0.0f;
#pragma unroll(kParts<Number> == 1 ? 4 : 1)
        for (int n = part; n < p.states; n += kUpdateParts) {
            Number b = kConstants && p.constant_b
                ? number_in_column<Number>(static_cast<const float*>(p.b) + channel, n, p.b_stride)
                : number_in_row<Number>(token_b, n);
            Number c = kConstants && p.constant_c
                ? number_in_column<Number>(static_cast<const float*>(p.c) + channel, n, p.c_stride)
                : number_in_row<Number>(token_c, n);
            Number decay = decay_for<T>(delta, rate<Number>(p, n, channel));
            Number h = advance(decay, number_in_column<Number>(state, n, p.state_stride), delta_u, b);
            store_in_column(next_state, n, p.next_state_stride, h);
            sum = add_output(h, c, sum);
        }
        sums[part][threadIdx.x] = sum;
    }
    __syncthreads();
    if (exists && part == 0) {
        float y = sums[0][threadIdx.x];
#pragma unroll
        for (int i = 1; i < kUpdateParts; ++i) {
            y += sums[i][threadIdx.x];
        }
        y = p.d != nullptr ? fmaf(p.d[channel], u, y) : y;
        y = p.z != nullptr ? y * silu_for<T>(to_float(static_cast<const T*>(p.z)[sequence * p.z_stride + channel])) : y;
        static_cast<T*>(p.y)[sequence * p.y_stride + channel] = from_float<T>(y);
    }
}

}  // namespace mamba
