// state_matrix_forward.cu: the diagonal of A from the parameter that is learned in its place.
//
//   a[n, c] = -exp(log_a[n, c])        log_a, a (states, channels), fp32
//
// One thread an element. A layer has some ten thousand of them, so starting the kernel is what takes the time. expf to its full accuracy: A
// is an exponent itself in the scan, which multiplies its error by the length of the memory.
#include "mamba/grid_dependency.cuh"

namespace mamba {

struct StateMatrixForwardParams {
    const float* log_a;
    float* a;
    long long log_a_stride;
    long long a_stride;
    long long states;
    int channels;
};

template <int kThreads>
__global__ void __launch_bounds__(kThreads) state_matrix_forward(const __grid_constant__ StateMatrixForwardParams p)
{
    int channel = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
    wait_for_earlier_grids();
    let_next_grid_start();
    if (channel >= p.channels) {
        return;
    }
    for (long long state = blockIdx.y; state < p.states; state += gridDim.y) {
        p.a[state * p.a_stride + channel] = -expf(p.log_a[state * p.log_a_stride + channel]);
    }
}

}  // namespace mamba
