// cross_entropy.cu: the softmax cross-entropy of each row of logits and its gradient, the z-loss included.
//
//   z[r] = log(sum over v of e^logits[r, v])                    losses[r] = z - logits[r, target] + z_loss_weight z^2
//   grad_logits[r, v] = grad_scale ((1 + 2 z_loss_weight z) e^(logits[r, v] - z) - (v is the target))
//
//   logits (rows, vocabulary), fp32   targets, losses (rows)   grad_logits (rows, vocabulary), or none, or in place of logits
//
// One block a row, 4 neighbouring logits a thread and step. The sum comes from one pass (see mamba/exponential_sum.cuh); for the gradient
// the logits are still in registers where the row is short (kHeld steps of a thread), else they are read once more, the last first, since
// those are still in the L2. A thread writes where it alone has read, so the gradient may replace the logits. Memory is the limit: reading
// a logit and writing its gradient.
//
// Where a logit is NaN or plus infinity, or all are minus infinity, loss and gradient are NaN. A row whose target is -1 has loss and
// gradient zero; a target outside the vocabulary is reported and its row left as it is.
#include "mamba/exponential_sum.cuh"
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct CrossEntropyParams {
    const float* logits;
    const int* targets;
    float* losses;
    void* grad_logits;  // or none
    Fault* fault;
    long long logits_stride;
    long long targets_stride;
    long long losses_stride;
    long long grad_logits_stride;
    int vocabulary;
    float z_loss_weight;
    float grad_scale;
};

constexpr int kCrossEntropyVec = 4;
constexpr int kIgnoredTarget = -1;

template <bool kAligned, typename T>
__device__ __forceinline__ void store_gradient(T* row, int first, int vocabulary, const float (&values)[kCrossEntropyVec])
{
    if (vocabulary - first >= kCrossEntropyVec) {
        store_row<kAligned>(row + first, kCrossEntropyVec, values);
    } else {
        store_elements(row + first, vocabulary - first, values);
    }
}

template <typename T, bool kAligned, int kHeld>
__global__ void __launch_bounds__(1024) cross_entropy(const __grid_constant__ CrossEntropyParams p)
{
    constexpr int kVec = kCrossEntropyVec;
    __shared__ ExponentialSum partial_sums[32];
    long long row = blockIdx.x;
    const float* logits = p.logits + row * p.logits_stride;
    T* gradient = p.grad_logits == nullptr ? nullptr : static_cast<T*>(p.grad_logits) + row * p.grad_logits_stride;
    int width = static_cast<int>(blockDim.x) * kVec;
    int own = static_cast<int>(threadIdx.x) * kVec;

    wait_for_earlier_grids();
    int target = p.targets[row * p.targets_stride];
    if (target == kIgnoredTarget) {
        if (gradient != nullptr) {
            const float zeros[kVec] = {};
            for (int first = own; first < p.vocabulary; first += width) {
                store_gradient<kAligned>(gradient, first, p.vocabulary, zeros);
            }
        }
        if (threadIdx.x == 0) {
            p.losses[row * p.losses_stride] = 0.0f;
        }
        return;
    }
    if (target < 0 || target >= p.vocabulary) {
        report(p.fault, FaultKind::target, row, target);
        return;
    }

    // Before the barrier of block_sum, behind which the gradient may stand there.
    float target_logit = logits[target];
    ExponentialSum total = ExponentialSum::of_nothing();
    float held[kHeld > 0 ? kHeld : 1][kVec];
    if constexpr (kHeld > 0) {
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            load_exponents<kAligned>(logits, own + i * width, p.vocabulary, held[i]);
        }
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            total.add_terms(held[i]);
        }
    } else {
#pragma unroll 4
        for (int first = own; first < p.vocabulary; first += width) {
            load_exponents<kAligned>(logits, first, p.vocabulary, held[0]);
            total.add_terms(held[0]);
        }
    }

    let_next_grid_start();
    total = block_sum(total, partial_sums);
    float log_sum = logf(total.sum);
    float z = total.largest + log_sum;
    if (threadIdx.x == 0) {
        p.losses[row * p.losses_stride] = (total.largest - target_logit) + log_sum + p.z_loss_weight * z * z;
    }
    if (gradient == nullptr) {
        return;
    }

    float factor = p.grad_scale * (1.0f + 2.0f * p.z_loss_weight * z) / total.sum;
    float reference = total.reference();
    auto leave = [&](int first, const float (&values)[kVec]) {
        float result[kVec];
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            // The one is taken off before the product is rounded.
            result[i] = fmaf(expf(values[i] - reference), factor, first + i == target ? -p.grad_scale : 0.0f);
        }
        store_gradient<kAligned>(gradient, first, p.vocabulary, result);
    };
    if constexpr (kHeld > 0) {
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            if (own + i * width < p.vocabulary) {
                leave(own + i * width, held[i]);
            }
        }
    } else {
        int steps = (p.vocabulary - own + width - 1) / width;
#pragma unroll 2
        for (int step = steps - 1; step >= 0; --step) {
            load_exponents<kAligned>(logits, own + step * width, p.vocabulary, held[0]);
            leave(own + step * width, held[0]);
        }
    }
}

}  // namespace mamba
