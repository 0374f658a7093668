// state_matrix_backward.cu: the gradient of the parameter that A is made of.
//
//   grad_log_a[n, c] += grad_a[n, c] * a[n, c]        all (states, channels), fp32; a = -exp(log_a) is its own derivative
//
// One thread an element. A layer has some ten thousand of them, so starting the kernel is what takes the time.
#include "mamba/grid_dependency.cuh"

namespace mamba {

struct StateMatrixBackwardParams {
    const float* a;
    const float* grad_a;
    float* grad_log_a;
    long long a_stride;
    long long grad_a_stride;
    long long grad_log_a_stride;
    long long states;
    int channels;
};

template <int kThreads>
__global__ void __launch_bounds__(kThreads) state_matrix_backward(const __grid_constant__ StateMatrixBackwardParams p)
{
    int channel = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
    wait_for_earlier_grids();
    let_next_grid_start();
    if (channel >= p.channels) {
        return;
    }
    for (long long state = blockIdx.y; state < p.states; state += gridDim.y) {
        float* sum = p.grad_log_a + state * p.grad_log_a_stride + channel;
        *sum = fmaf(p.grad_a[state * p.grad_a_stride + channel], p.a[state * p.a_stride + channel], *sum);
    }
}

}  // namespace mamba
