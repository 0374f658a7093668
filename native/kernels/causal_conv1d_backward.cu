// causal_conv1d_backward.cu: the gradients of the causal convolution; what stands before SiLU is computed again from x.
//
//   g[t, c] = grad_y[t, c] * silu'(s[t, c])     s[t, c] = bias[c] + sum over k of weight[k, c] * x[t - kWidth + 1 + k, c]
//   grad_x[t, c] = sum over k of weight[k, c] * g[t + kWidth - 1 - k, c], and for the last inputs the gradient of the final state
//   grad_weight[k, c] += sum over t of g[t, c] * x[t - kWidth + 1 + k, c]     grad_bias[c] += sum over t of g[t, c]
//
//   x, grad_y, grad_x (tokens, channels)   weight (kWidth, channels)   bias (channels) or none   states as in causal_conv1d_forward.cu
//   more_grad_y, with kMore: added to grad_y, for a result that two operations read; else none
//   partials (blocks of tokens, kWidth + 1, channels), fp32, or none: each block's sums for the weight and the bias, for partial_sums.cu
//
// One thread owns kVec channels and walks a chunk of a sequence forward, as causal_conv1d_forward.cu does: beside the last inputs it has
// their gradients in registers, each of which is complete, and stored, kWidth - 1 steps after its input was met. So a chunk goes kWidth - 1
// steps into the next one, without counting these for the weight; g of a step is the same in both, to the last bit. Loads of kAhead steps
// are in flight. Tiles of kAhead steps that lie within the chunk have no conditions between steps, which would keep them from overlapping.
// The gradient of the initial state is a kernel of its own, a thread a sequence and channel: it may take the place of that of the final
// state, which the last chunk must have read.
// Memory is the limit, 6 bytes an element in 16-bit types, 8 with kMore, and 8 (kWidth + 1) a chunk and channel for the weight; the
// arithmetic, about 30 operations an element, is not far below it. On an H200 8 x 2048 x 2048 in bf16 takes 70 us, 50 being what memory needs.
#include "mamba/causal_conv.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/sequences.cuh"

namespace mamba {

struct CausalConv1dBackwardParams {
    const void* x;
    const float* weight;
    const float* bias;
    const float* initial_state;
    const void* grad_y;
    const void* more_grad_y;
    const float* grad_final_state;
    void* grad_x;
    float* grad_initial_state;
    float* partials;
    long long x_stride;
    long long weight_stride;
    long long initial_state_stride;
    long long grad_y_stride;
    long long more_grad_y_stride;
    long long grad_final_state_stride;
    long long grad_x_stride;
    long long grad_initial_state_stride;
    SequenceTable sequences;
    int channels;
    int chunk;  // steps of a block
};

constexpr int kConvolutionBackwardThreads = 128;

// The last inputs of kVec channels, and their gradients as far as they are known.
template <typename T, int kWidth, bool kSilu, int kVec>
struct ConvolutionGradients {
    static constexpr int kHistory = kWidth - 1;

    ConvolutionWindow<T, kWidth, kVec> window;
    float pending[kHistory][kVec];  // oldest first
    float grad_weight[kWidth][kVec];
    float grad_bias[kVec];

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            grad_bias[i] = 0.0f;
#pragma unroll
            for (int k = 0; k < kWidth; ++k) {
                grad_weight[k][i] = 0.0f;
            }
#pragma unroll
            for (int k = 0; k < kHistory; ++k) {
                pending[k][i] = 0.0f;
            }
        }
    }

    // Takes the next input and the gradient of its output; gives the gradient of the input kHistory steps before, which is complete.
    __device__ __forceinline__ void step(const float (&x)[kVec], const float (&grad_y)[kVec], bool counts, float (&done)[kVec])
    {
        float g[kVec];
        if (kSilu) {
            window.sum_at(x, g);
        }
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            g[i] = kSilu ? grad_y[i] * silu_slope_gate<T>(g[i]) : grad_y[i];
            if (counts) {
                grad_bias[i] += g[i];
#pragma unroll
                for (int k = 0; k < kHistory; ++k) {
                    grad_weight[k][i] = fmaf(g[i], window.history[k][i], grad_weight[k][i]);
                }
                grad_weight[kHistory][i] = fmaf(g[i], x[i], grad_weight[kHistory][i]);
            }
            done[i] = fmaf(window.weights[0][i], g[i], pending[0][i]);
#pragma unroll
            for (int k = 0; k + 1 < kHistory; ++k) {
                pending[k][i] = fmaf(window.weights[k + 1][i], g[i], pending[k + 1][i]);
            }
            pending[kHistory - 1][i] = window.weights[kHistory][i] * g[i];
        }
        window.push(x);
    }

    // The same behind the last step of a sequence, whose last inputs are its final state. A gradient of zero is added too: it makes a
    // negative zero a positive one, and what is left out is to be as what is zero.
    __device__ __forceinline__ void step_behind(const float (&grad_final_state)[kVec], float (&done)[kVec])
    {
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            done[i] = pending[0][i] + grad_final_state[i];
#pragma unroll
            for (int k = 0; k + 1 < kHistory; ++k) {
                pending[k][i] = pending[k + 1][i];
            }
            pending[kHistory - 1][i] = 0.0f;
        }
    }

    // The block's sums, (kWidth + 1, channels).
    __device__ __forceinline__ void leave_sums(float* partials, int channels) const
    {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
            store(partials + static_cast<long long>(k) * channels, grad_weight[k]);
        }
        store(partials + static_cast<long long>(kWidth) * channels, grad_bias);
    }
};

// A row of kVec elements of a state; zeros where there is none.
template <int kVec>
__device__ __forceinline__ void load_state_row(const float* state_or_null, long long row, long long stride, float (&values)[kVec])
{
    if (state_or_null != nullptr) {
        load(state_or_null + row * stride, values);
    } else {
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            values[i] = 0.0f;
        }
    }
}

template <typename T, int kWidth, bool kSilu, bool kMore, int kVec, int kAhead>
struct ConvolutionGradientWalk {
    static constexpr int kHistory = kWidth - 1;

    ConvolutionGradients<T, kWidth, kSilu, kVec> gradients;
    Stored<T, kVec> x_ahead[kAhead];
    Stored<T, kVec> grad_y_ahead[kAhead];
    Stored<T, kVec> more_ahead[kMore ? kAhead : 1];
    const T* x;            // the last step loaded
    const T* grad_y;       // the same
    const T* more_grad_y;  // the same
    T* grad_x;             // the next to be stored
    const float* grad_final_state;
    int loads;   // steps that are still to be loaded after it; when there are none, it is loaded again and again
    int steps;   // of the walk: those of the chunk, and kHistory more
    int counts;  // how many of them are the chunk's own
    int inside;  // how many of them are within the sequence

    __device__ __forceinline__ void load_next(const CausalConv1dBackwardParams& p, int i)
    {
        load(x, x_ahead[i]);
        load(grad_y, grad_y_ahead[i]);
        x += loads > 0 ? p.x_stride : 0;
        grad_y += loads > 0 ? p.grad_y_stride : 0;
        if constexpr (kMore) {
            load(more_grad_y, more_ahead[i]);
            more_grad_y += loads > 0 ? p.more_grad_y_stride : 0;
        }
        --loads;
    }

    // kAhead steps from `step` on. Loads into the place of each the step kAhead later. Where kWhole is false, only those of them that there
    // are: the first kHistory complete gradients of the chunk before, and behind the sequence there is nothing to read.
    template <bool kWhole>
    __device__ __forceinline__ void tile(const CausalConv1dBackwardParams& p, int step)
    {
#pragma unroll
        for (int i = 0; i < kAhead; ++i, ++step) {
            if (!kWhole && step >= steps) {
                break;
            }
            float input[kVec];
            float grad_output[kVec];
            float done[kVec];
            widen(x_ahead[i], input);
            widen(grad_y_ahead[i], grad_output);
            if constexpr (kMore) {
                float more[kVec];
                widen(more_ahead[i], more);
#pragma unroll
                for (int j = 0; j < kVec; ++j) {
                    grad_output[j] += more[j];
                }
            }
            load_next(p, i);
            if (kWhole || step < inside) {
                gradients.step(input, grad_output, kWhole || step < counts, done);
            } else {
                float final_gradient[kVec];
                load_state_row(grad_final_state, step - inside, p.grad_final_state_stride, final_gradient);
                gradients.step_behind(final_gradient, done);
            }
            if (kWhole || step >= kHistory) {
                if (p.grad_x != nullptr) {
                    store(grad_x, done);
                }
                grad_x += p.grad_x_stride;
            }
        }
    }
};

template <typename T, int kWidth, bool kSilu, bool kMore, int kVec, int kAhead>
__global__ void __launch_bounds__(kConvolutionBackwardThreads, 512 / kConvolutionBackwardThreads)
    causal_conv1d_backward(const __grid_constant__ CausalConv1dBackwardParams p)
{
    constexpr int kHistory = kWidth - 1;
    int channel = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kVec;
    wait_for_earlier_grids();
    SequenceChunk chunk(p.sequences, blockIdx.x, static_cast<unsigned int>(p.chunk));
    long long start = p.sequences.start(chunk.sequence);
    long long rest = p.sequences.end(chunk.sequence) - start - chunk.first;
    if (channel >= p.channels) {
        return;
    }

    ConvolutionGradientWalk<T, kWidth, kSilu, kMore, kVec, kAhead> walk;
    walk.gradients.clear();
    if (rest > 0) {
        long long row = start + chunk.first;
        long long state_row = static_cast<long long>(p.sequences.slot(chunk.sequence)) * kHistory;
        walk.counts = static_cast<int>(rest < p.chunk ? rest : p.chunk);
        walk.steps = walk.counts + kHistory;
        walk.inside = static_cast<int>(rest < walk.steps ? rest : walk.steps);
        walk.loads = walk.inside - 1;
        walk.x = static_cast<const T*>(p.x) + row * p.x_stride + channel;
        walk.grad_y = static_cast<const T*>(p.grad_y) + row * p.grad_y_stride + channel;
        if constexpr (kMore) {
            walk.more_grad_y = static_cast<const T*>(p.more_grad_y) + row * p.more_grad_y_stride + channel;
        }
        walk.grad_x = static_cast<T*>(p.grad_x) + row * p.grad_x_stride + channel;
        walk.grad_final_state =
            p.grad_final_state != nullptr ? p.grad_final_state + state_row * p.grad_final_state_stride + channel : nullptr;
        const T* before = walk.x - kHistory * p.x_stride;
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            walk.load_next(p, i);
        }
        walk.gradients.window.load_parameters(p.weight + channel, p.weight_stride, p.bias != nullptr ? p.bias + channel : nullptr);
        if (chunk.first == 0) {
            walk.gradients.window.load_state(
                p.initial_state != nullptr ? p.initial_state + state_row * p.initial_state_stride + channel : nullptr,
                p.initial_state_stride);
        } else {
#pragma unroll
            for (int k = 0; k < kHistory; ++k) {
                load(before + k * p.x_stride, walk.gradients.window.history[k]);
            }
        }

        walk.template tile<false>(p, 0);
        int step = kAhead;
        for (; step + kAhead <= walk.counts; step += kAhead) {
            walk.template tile<true>(p, step);
        }
        for (; step < walk.steps; step += kAhead) {
            walk.template tile<false>(p, step);
        }
    }
    let_next_grid_start();
    if (p.partials != nullptr) {
        walk.gradients.leave_sums(p.partials + static_cast<long long>(blockIdx.x) * (kWidth + 1) * p.channels + channel, p.channels);
    }
}

// The gradient of the initial state: the first kHistory steps complete it.
template <typename T, int kWidth, bool kSilu>
__global__ void __launch_bounds__(kConvolutionBackwardThreads) causal_conv1d_state_backward(const __grid_constant__ CausalConv1dBackwardParams p)
{
    constexpr int kHistory = kWidth - 1;
    int channel = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    int sequence = static_cast<int>(blockIdx.x);
    wait_for_earlier_grids();
    if (channel >= p.channels) {
        return;
    }
    long long start = p.sequences.start(sequence);
    long long length = p.sequences.end(sequence) - start;
    long long state_row = static_cast<long long>(p.sequences.slot(sequence)) * kHistory;
    const T* x = static_cast<const T*>(p.x) + start * p.x_stride + channel;
    const T* grad_y = static_cast<const T*>(p.grad_y) + start * p.grad_y_stride + channel;
    const T* more_grad_y =
        p.more_grad_y != nullptr ? static_cast<const T*>(p.more_grad_y) + start * p.more_grad_y_stride + channel : nullptr;
    const float* grad_final_state =
        p.grad_final_state != nullptr ? p.grad_final_state + state_row * p.grad_final_state_stride + channel : nullptr;
    ConvolutionGradients<T, kWidth, kSilu, 1> gradients;
    gradients.clear();
    gradients.window.load_parameters(p.weight + channel, p.weight_stride, p.bias != nullptr ? p.bias + channel : nullptr);
    gradients.window.load_state(
        p.initial_state != nullptr ? p.initial_state + state_row * p.initial_state_stride + channel : nullptr, p.initial_state_stride);
    float done[kHistory][1];
#pragma unroll
    for (int step = 0; step < kHistory; ++step) {
        if (step < length) {
            float input[1];
            float grad_output[1];
            load(x + step * p.x_stride, input);
            load(grad_y + step * p.grad_y_stride, grad_output);
            if (more_grad_y != nullptr) {
                grad_output[0] += to_float(more_grad_y[step * p.more_grad_y_stride]);
            }
            gradients.step(input, grad_output, false, done[step]);
        } else {
            float final_gradient[1];
            load_state_row(grad_final_state, step - length, p.grad_final_state_stride, final_gradient);
            gradients.step_behind(final_gradient, done[step]);
        }
    }
    let_next_grid_start();
#pragma unroll
    for (int step = 0; step < kHistory; ++step) {
        store(p.grad_initial_state + (state_row + step) * p.grad_initial_state_stride + channel, done[step]);
    }
}

}  // namespace mamba
