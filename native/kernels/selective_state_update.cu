// selective_state_update.cu: one step of the selective scan for each sequence (Mamba, section 3.2, the recurrent mode), its state in place or elsewhere.
//
//   delta' = softplus(delta + bias);  h[n] = exp(delta' A[n]) h[n] + delta' u B[n];  y = (sum over n of C[n] h[n] + D u) silu(z)
//
//   u, delta, z, y (sequences, channels)   A (states, channels)   B, C (sequences, groups * states), or (states, channels) where constant
//   h (slots * states, channels); for complex A see state_numbers.cuh
//
// Threads of a row of the block have consecutive channels, kVec each, so that states are read and written as they lie; kUpdateParts rows
// share the states of a channel and add up in shared memory, in order. Then a thread has one channel, so that all rows finish y, and what
// they need for it is read before the sum and not after. Bound by the states' traffic, 8 bytes a state: a thread has kUpdateAhead of its
// states on their way at once. kConstants: p tells which of B and C are constant, if any.
#include "mamba/fast_math.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/sequences.cuh"
#include "mamba/state_numbers.cuh"
#include "mamba/types.cuh"
#include "mamba/vectors.cuh"

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

constexpr int kUpdateLanes = 32;
constexpr int kUpdateParts = 4;
constexpr int kUpdateAhead = 4;

// The number of a state for kVec neighbouring channels.
template <typename Number, int kVec>
__device__ __forceinline__ void numbers_in_columns(const float* column, int state, long long stride, Number (&to)[kVec])
{
    if constexpr (kVec == 1) {
        to[0] = number_in_column<Number>(column, state, stride);
    } else {
        load(column + state * stride, to);
    }
}

// A of it, see rate.
template <typename Number, int kVec>
__device__ __forceinline__ void rates_of(const SelectiveStateUpdateParams& p, int state, int channel, Number (&to)[kVec])
{
    if constexpr (kVec == 1) {
        to[0] = rate<Number>(p, state, channel);
    } else {
        load(p.a + state * p.a_stride + channel, to);
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            to[i] *= kLog2E;
        }
    }
}

template <typename Number, int kVec>
__device__ __forceinline__ void store_in_columns(float* column, int state, long long stride, const Number (&from)[kVec])
{
    if constexpr (kVec == 1) {
        store_in_column(column, state, stride, from[0]);
    } else {
        store(column + state * stride, from);
    }
}

template <typename T, typename Number, bool kConstants, int kVec>
__global__ void __launch_bounds__(kUpdateLanes* kUpdateParts) selective_state_update(const __grid_constant__ SelectiveStateUpdateParams p)
{
    static_assert(kVec == 1 || (kParts<Number> == 1 && !kConstants), "only real states of the input's B and C lie side by side");
    static_assert(kVec <= kUpdateParts, "a thread finishes one channel at most");
    constexpr int kBlockChannels = kUpdateLanes * kVec;
    __shared__ float sums_of[kUpdateParts][kBlockChannels];
    int part = threadIdx.y;
    int first_channel = blockIdx.x % p.blocks_of_sequence * kBlockChannels;
    int channel = first_channel + threadIdx.x * kVec;
    int finished = part * kUpdateLanes + threadIdx.x;
    int finished_channel = first_channel + finished;
    bool finishes = finished < kBlockChannels && finished_channel < p.channels;
    long long sequence = blockIdx.x / p.blocks_of_sequence;
    float skip[1] = {};
    float skip_u[1] = {};
    float z[1] = {};
    wait_for_earlier_grids();
    let_next_grid_start();
    if (finishes && p.z != nullptr) {
        load(static_cast<const T*>(p.z) + sequence * p.z_stride + finished_channel, z);
    }
    if (finishes && p.d != nullptr) {
        load(static_cast<const T*>(p.u) + sequence * p.u_stride + finished_channel, skip_u);
        load(p.d + finished_channel, skip);
    }
    if (channel < p.channels) {
        long long slot = p.sequences.slot(static_cast<int>(sequence));
        long long state_row = slot * p.states * kParts<Number>;
        const float* state = p.state + state_row * p.state_stride + channel;
        float* next_state = p.next_state + state_row * p.next_state_stride + channel;
        long long group_column = static_cast<long long>(channel / p.group_channels) * p.states * kParts<Number>;
        const T* token_b = static_cast<const T*>(p.b) + sequence * p.b_stride + group_column;
        const T* token_c = static_cast<const T*>(p.c) + sequence * p.c_stride + group_column;
        // Read before anything is computed or written, past which the compiler could move no read.
        Number h[kUpdateAhead][kVec];
        Number rates[kUpdateAhead][kVec];
        Number b[kUpdateAhead];
        Number c[kUpdateAhead];
        auto load_states = [&](int first) {
#pragma unroll
            for (int k = 0; k < kUpdateAhead; ++k) {
                int n = first + k * kUpdateParts;
                if (n < p.states) {
                    numbers_in_columns(state, n, p.state_stride, h[k]);
                    rates_of(p, n, channel, rates[k]);
                    b[k] = kConstants && p.constant_b
                        ? number_in_column<Number>(static_cast<const float*>(p.b) + channel, n, p.b_stride)
                        : number_in_row<Number>(token_b, n);
                    c[k] = kConstants && p.constant_c
                        ? number_in_column<Number>(static_cast<const float*>(p.c) + channel, n, p.c_stride)
                        : number_in_row<Number>(token_c, n);
                }
            }
        };
        load_states(part);
        float u[kVec];
        float delta[kVec];
        float delta_u[kVec];
        float bias[kVec] = {};
        load(static_cast<const T*>(p.u) + sequence * p.u_stride + channel, u);
        load(static_cast<const T*>(p.delta) + sequence * p.delta_stride + channel, delta);
        if (p.delta_bias != nullptr) {
            load(p.delta_bias + channel, bias);
        }
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            delta[i] += bias[i];
            delta[i] = p.delta_softplus ? softplus_for<T>(delta[i]) : delta[i];
            delta_u[i] = delta[i] * u[i];
        }
        float sums[kVec] = {};
        for (int first = part; first < p.states; first += kUpdateAhead * kUpdateParts) {
            if (first > part) {
                load_states(first);
            }
#pragma unroll
            for (int k = 0; k < kUpdateAhead; ++k) {
                int n = first + k * kUpdateParts;
                if (n < p.states) {
#pragma unroll
                    for (int i = 0; i < kVec; ++i) {
                        h[k][i] = advance(decay_for<T>(delta[i], rates[k][i]), h[k][i], delta_u[i], b[k]);
                        sums[i] = add_output(h[k][i], c[k], sums[i]);
                    }
                    store_in_columns(next_state, n, p.next_state_stride, h[k]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            sums_of[part][threadIdx.x * kVec + i] = sums[i];
        }
    }
    __syncthreads();
    if (finishes) {
        float y[1] = {sums_of[0][finished]};
#pragma unroll
        for (int k = 1; k < kUpdateParts; ++k) {
            y[0] += sums_of[k][finished];
        }
        y[0] = p.d != nullptr ? fmaf(skip[0], skip_u[0], y[0]) : y[0];
        y[0] = p.z != nullptr ? y[0] * silu_for<T>(z[0]) : y[0];
        store(static_cast<T*>(p.y) + sequence * p.y_stride + finished_channel, y);
    }
}

}  // namespace mamba
