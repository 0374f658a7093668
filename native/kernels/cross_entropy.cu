// cross_entropy.cu: the softmax cross-entropy of each row of logits and its gradient, the z-loss included.
//
//   z[r] = log(sum over v of e^logits[r, v])                    losses[r] = z - logits[r, target] + z_loss_weight z^2
//   grad_logits[r, v] = grad_scale ((1 + 2 z_loss_weight z) e^(logits[r, v] - z) - (v is the target))
//
//   logits (rows, vocabulary), fp32   targets, losses (rows)   grad_logits (rows, vocabulary), or none, or in place of logits
//
// A block takes whole rows, 4 neighbouring logits a thread and step. The sum comes from one pass (see mamba/exponential_sum.cuh); for the
// gradient a thread needs its logits once more:
//
//   cross_entropy          a row a block; they are still in registers where the row is short (kHeld steps of a thread), else they are read
//                          again, the last first, since those are still in the L2
//   cross_entropy_of_rows  rows that fit into shared memory, one after the other on as many blocks as the card runs at once. Each thread
//                          copies, and reads, its own logits alone; those of the next row come in the place of those whose gradient is
//                          done, so that memory has something to do at all times
//
// A thread writes where it alone has read, so the gradient may replace the logits. Both ways give the same bits. Memory is the limit:
// reading a logit and writing its gradient.
//
// Where a logit is NaN or plus infinity, or all are minus infinity, loss and gradient are NaN. A row whose target is -1 has loss and
// gradient zero; a target outside the vocabulary is reported and its row left as it is.
#include "mamba/async_copy.cuh"
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
    long long rows;
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

// A row that a block is at.
template <typename T, bool kAligned>
struct CrossEntropyRow {
    static constexpr int kVec = kCrossEntropyVec;

    const CrossEntropyParams& p;
    long long row;
    const float* logits;
    T* gradient;  // or null
    int target;
    float factor;  // of the gradient's exponentials
    float reference;

    __device__ __forceinline__ CrossEntropyRow(const CrossEntropyParams& params, long long number)
        : p(params)
        , row(number)
        , logits(p.logits + row * p.logits_stride)
        , gradient(p.grad_logits == nullptr ? nullptr : static_cast<T*>(p.grad_logits) + row * p.grad_logits_stride)
        , target(p.targets[row * p.targets_stride])
    {
    }

    __device__ __forceinline__ static int width() { return static_cast<int>(blockDim.x) * kVec; }
    __device__ __forceinline__ static int own() { return static_cast<int>(threadIdx.x) * kVec; }

    // Whether there is anything to compute; does what is to be done where there is not.
    __device__ __forceinline__ bool counts() const
    {
        if (target == kIgnoredTarget) {
            if (gradient != nullptr) {
                const float zeros[kVec] = {};
                for (int first = own(); first < p.vocabulary; first += width()) {
                    store_gradient<kAligned>(gradient, first, p.vocabulary, zeros);
                }
            }
            if (threadIdx.x == 0) {
                p.losses[row * p.losses_stride] = 0.0f;
            }
            return false;
        }
        if (target < 0 || target >= p.vocabulary) {
            report(p.fault, FaultKind::target, row, target);
            return false;
        }
        return true;
    }

    // `target_logit` was read before the barrier of block_sum, behind which the gradient may stand there.
    __device__ __forceinline__ void leave_loss(const ExponentialSum& total, float target_logit)
    {
        float log_sum = logf(total.sum);
        float z = total.largest + log_sum;
        if (threadIdx.x == 0) {
            p.losses[row * p.losses_stride] = (total.largest - target_logit) + log_sum + p.z_loss_weight * z * z;
        }
        factor = p.grad_scale * (1.0f + 2.0f * p.z_loss_weight * z) / total.sum;
        reference = total.reference();
    }

    __device__ __forceinline__ void leave_gradient(int first, const float (&values)[kVec]) const
    {
        float result[kVec];
#pragma unroll
        for (int i = 0; i < kVec; ++i) {
            // The one is taken off before the product is rounded.
            result[i] = fmaf(exp_for<T>(values[i] - reference), factor, first + i == target ? -p.grad_scale : 0.0f);
        }
        store_gradient<kAligned>(gradient, first, p.vocabulary, result);
    }
};

template <typename T, bool kAligned, int kHeld>
__global__ void __launch_bounds__(1024) cross_entropy(const __grid_constant__ CrossEntropyParams p)
{
    using Row = CrossEntropyRow<T, kAligned>;
    __shared__ ExponentialSum partial_sums[32];
    int width = Row::width();
    int own = Row::own();

    wait_for_earlier_grids();
    Row row(p, blockIdx.x);
    if (!row.counts()) {
        return;
    }
    float target_logit = row.logits[row.target];
    ExponentialSum total = ExponentialSum::of_nothing();
    float held[kHeld > 0 ? kHeld : 1][Row::kVec];
    if constexpr (kHeld > 0) {
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            load_exponents<kAligned>(row.logits, own + i * width, p.vocabulary, held[i]);
        }
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            total.template add_terms<T>(held[i]);
        }
    } else {
#pragma unroll 4
        for (int first = own; first < p.vocabulary; first += width) {
            load_exponents<kAligned>(row.logits, first, p.vocabulary, held[0]);
            total.template add_terms<T>(held[0]);
        }
    }

    let_next_grid_start();
    total = block_sum(total, partial_sums);
    row.leave_loss(total, target_logit);
    if (row.gradient == nullptr) {
        return;
    }
    if constexpr (kHeld > 0) {
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            if (own + i * width < p.vocabulary) {
                row.leave_gradient(own + i * width, held[i]);
            }
        }
    } else {
        int steps = (p.vocabulary - own + width - 1) / width;
#pragma unroll 2
        for (int step = steps - 1; step >= 0; --step) {
            load_exponents<kAligned>(row.logits, own + step * width, p.vocabulary, held[0]);
            row.leave_gradient(own + step * width, held[0]);
        }
    }
}

// Copies of a row are awaited in as many parts.
constexpr int kRowParts = 4;

// Calls `body` with the first of the thread's logits of each step of a part of the row.
template <typename Row, typename Body>
__device__ __forceinline__ void for_steps(int part, int vocabulary, const Body& body)
{
    int steps = (vocabulary + Row::width() - 1) / Row::width();
    int part_steps = (steps + kRowParts - 1) / kRowParts;
    int end = (part + 1) * part_steps < steps ? (part + 1) * part_steps : steps;
    for (int step = part * part_steps; step < end; ++step) {
        body(Row::own() + step * Row::width());
    }
}

// Shared memory: a row, rounded up to whole steps of the block. Logits of a row that does not count are fetched and added all the same.
template <typename T>
__global__ void __launch_bounds__(1024, 1) cross_entropy_of_rows(const __grid_constant__ CrossEntropyParams p)
{
    using Row = CrossEntropyRow<T, true>;
    extern __shared__ __align__(16) float own_logits[];
    __shared__ ExponentialSum partial_sums[2][32];  // those of the row before may still be read

    wait_for_earlier_grids();
    // This thread's logits of a step. Behind the end of the row, and of the rows, nothing is read.
    auto fetch = [&](long long number, int first) {
        int left = number < p.rows ? p.vocabulary - first : 0;
        const float* from = left > 0 ? p.logits + number * p.logits_stride + first : p.logits;
        async_copy_16(own_logits + first, from, left >= 4 ? 16 : left > 0 ? 4 * left : 0);
    };
#pragma unroll
    for (int part = 0; part < kRowParts; ++part) {
        for_steps<Row>(part, p.vocabulary, [&](int first) { fetch(blockIdx.x, first); });
        async_commit();
    }
    int turn = 0;
    for (long long number = blockIdx.x; number < p.rows; number += gridDim.x) {
        Row row(p, number);
        bool counts = row.counts();
        float target_logit = counts ? row.logits[row.target] : 0.0f;
        ExponentialSum total = ExponentialSum::of_nothing();
        auto add_part = [&](int part) {
            for_steps<Row>(part, p.vocabulary, [&](int first) {
                float values[Row::kVec];
                load_exponents<true>(own_logits, first, p.vocabulary, values);
                total.template add_terms<T>(values);
            });
        };
        async_wait<3>();
        add_part(0);
        async_wait<2>();
        add_part(1);
        async_wait<1>();
        add_part(2);
        async_wait<0>();
        add_part(3);
        if (counts) {
            total = block_sum(total, partial_sums[turn]);
            turn = 1 - turn;
            row.leave_loss(total, target_logit);
        }
#pragma unroll
        for (int part = 0; part < kRowParts; ++part) {
            for_steps<Row>(part, p.vocabulary, [&](int first) {
                if (counts && first < p.vocabulary) {
                    float values[Row::kVec];
                    load_exponents<true>(own_logits, first, p.vocabulary, values);
                    row.leave_gradient(first, values);
                }
                fetch(number + gridDim.x, first);
            });
            async_commit();
        }
    }
    async_wait<0>();
    let_next_grid_start();
}

}  // namespace mamba
