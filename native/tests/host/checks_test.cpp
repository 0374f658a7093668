// checks_test.cpp: results that depend on undefined shared memory or on the order of threads, with MAMBACUDA_HOST_CHECK=1.
#include "host_device.h"

using namespace host_test;

namespace {

const char* const kSource = R"(
extern "C" __global__ void right(float* x)
{
    __shared__ float held[64];
    held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = held[63 - threadIdx.x] + 1;
}

extern "C" __global__ void forgets_one(float* x)
{
    __shared__ float held[64];
    if (threadIdx.x != 40) held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = held[63 - threadIdx.x];
}

extern "C" __global__ void forgets_dynamic(float* x)
{
    extern __shared__ float held[];
    x[threadIdx.x] = held[threadIdx.x];
}

extern "C" __global__ void lacks_barrier(float* x)
{
    __shared__ float held[64];
    held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    float sum = held[threadIdx.x] + held[(threadIdx.x + 1) % 64];
    held[threadIdx.x] = sum;
    __syncthreads();
    x[threadIdx.x] = held[threadIdx.x];
}

extern "C" __global__ void blocks_race(float* x) { *x = blockIdx.x; }

extern "C" __global__ void adds_in_any_order(float* x) { atomicAdd(x, 1.0f / (1 + threadIdx.x)); }

extern "C" __global__ void lacks_lane(float* x) { x[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 4); }
)";

void expect_found(const Program& program, const char* kernel, const Launch& how, const std::string& part)
{
    Buffer<float> x(std::vector<float>(64, 2.5f));
    expect_error(launch(program.kernel(kernel), how, x.address), CUDA_ERROR_LAUNCH_FAILED, part);
}

}  // namespace

int main()
{
    setenv("MAMBACUDA_HOST_CHECK", "1", 1);
    start();
    Program program(kSource);

    std::vector<float> values(64);
    for (std::size_t i = 0; i < 64; ++i) {
        values[i] = static_cast<float>(i);
    }
    Buffer<float> x(values);
    require(launch(program.kernel("right"), {1, 64}, x.address), "right");
    expect(x.read()[0] == 64.0f && x.read()[63] == 1.0f, "a right kernel's result is that of one run");

    expect_found(program, "forgets_one", {1, 64}, "byte 92 of allocation");
    expect_found(program, "forgets_dynamic", {1, 64, 256}, "is 0xffffffff and 0x3f3f3f3f");
    expect_found(program, "lacks_barrier", {1, 64}, "depends on uninitialised shared memory or on the order of its threads");
    expect_found(program, "blocks_race", {4, 1}, "byte 0 of allocation");
    expect_found(program, "adds_in_any_order", {1, 64}, "in two runs from the same memory");
    expect_found(program, "lacks_lane", {1, 40}, "is 0xffffffff and 0x3f3f3f3f");
    return finish();
}
