// barriers_test.cpp: barriers of a block, and what is said where not all threads come to one.
#include "host_device.h"

#include <numeric>

using namespace host_test;

namespace {

const char* const kSource = R"(
extern "C" __global__ void reverse(int* x)
{
    __shared__ int held[1024];
    for (int round = 0; round < 3; ++round) {
        held[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
        __syncthreads();
    }
}

extern "C" __global__ void reverse_dynamic(int* x)
{
    extern __shared__ __align__(16) int held[];
    held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void votes(int* x)
{
    int third = threadIdx.x % 3 == 0;
    int count = __syncthreads_count(third);
    int all = __syncthreads_and(third);
    int any = __syncthreads_or(third);
    int every = __syncthreads_and(1);
    x[threadIdx.x] = count * 8 + all * 4 + any * 2 + every;
}

// The first 32 threads make a value, the others take it: two named barriers, one side of each only arrives.
extern "C" __global__ void hand_over(int* x)
{
    __shared__ int value;
    for (int round = 0; round < 4; ++round) {
        if (threadIdx.x < 32) {
            if (round > 0) __mamba_barrier_sync(2, blockDim.x);
            if (threadIdx.x == 0) value = round + 1;
            __mamba_barrier_arrive(1, blockDim.x);
        } else {
            __mamba_barrier_sync(1, blockDim.x);
            x[threadIdx.x] += value;
            if (round < 3) __mamba_barrier_arrive(2, blockDim.x);
        }
    }
}

extern "C" __global__ void half_wait() { if (threadIdx.x < blockDim.x / 2) __syncthreads(); }

extern "C" __global__ void wait_apart()
{
    if (threadIdx.x < 32) __mamba_barrier_sync(1, 64);
    else __mamba_barrier_sync(2, 64);
}

extern "C" __global__ void disagree() { __mamba_barrier_sync(1, threadIdx.x < 32 ? 64 : 96); }

extern "C" __global__ void meet(int* arrived, int* seen)
{
    __shared__ int mine;
    if (threadIdx.x == 0) {
        mine = blockIdx.x;
        atomicAdd(arrived, 1);
        while (atomicAdd(arrived, 0) < static_cast<int>(gridDim.x)) { }
    }
    __syncthreads();
    seen[blockIdx.x * blockDim.x + threadIdx.x] = mine;
}
)";

std::vector<int> counted(int count)
{
    std::vector<int> values(static_cast<std::size_t>(count));
    std::iota(values.begin(), values.end(), 0);
    return values;
}

void test_blocks_of_all_sizes(const Program& program)
{
    for (unsigned int threads : {1u, 2u, 31u, 32u, 33u, 64u, 100u, 1000u, 1024u}) {
        std::vector<int> values = counted(static_cast<int>(threads));
        std::vector<int> reversed(values.rbegin(), values.rend());
        Buffer<int> x(values);
        require(launch(program.kernel("reverse"), {1, threads}, x.address), "reverse");
        expect(x.read() == reversed, "three times reversed, " + std::to_string(threads) + " threads");
        require(launch(program.kernel("reverse_dynamic"), {1, threads, 4 * threads}, x.address), "reverse_dynamic");
        expect(x.read() == values, "reversed again through dynamic memory, " + std::to_string(threads) + " threads");
    }
}

void test_votes(const Program& program)
{
    Buffer<int> x(std::vector<int>(100));
    require(launch(program.kernel("votes"), {1, 100}, x.address), "votes");
    expect(x.read() == std::vector<int>(100, 34 * 8 + 2 + 1), "votes of a block");
}

void test_named_barriers(const Program& program)
{
    Buffer<int> x(std::vector<int>(128));
    require(launch(program.kernel("hand_over"), {1, 128}, x.address), "hand_over");
    std::vector<int> wanted(128, 1 + 2 + 3 + 4);
    std::fill(wanted.begin(), wanted.begin() + 32, 0);
    expect(x.read() == wanted, "values handed over by named barriers");
}

void test_reports(const Program& program)
{
    expect_error(launch(program.kernel("half_wait"), {1, 64}), CUDA_ERROR_LAUNCH_FAILED,
                 "threads 0 to 31: wait at __syncthreads (barrier 0, 32 of 64 arrived)\n  threads 32 to 63: exited");
    expect_error(launch(program.kernel("wait_apart"), {1, 64}), CUDA_ERROR_LAUNCH_FAILED,
                 "threads 0 to 31: wait at barrier 1 (32 of 64 arrived)\n  threads 32 to 63: wait at barrier 2 (32 of 64 arrived)");
    expect_error(launch(program.kernel("disagree"), {1, 64}), CUDA_ERROR_LAUNCH_FAILED, "of 96 threads, where others wait for 64");
}

void test_blocks_that_wait_for_each_other(const Program& program)
{
    Buffer<int> arrived(std::vector<int>(1));
    Buffer<int> seen(std::vector<int>(8 * 64));
    Launch all{8, 64};
    all.is_cooperative = true;
    require(launch(program.kernel("meet"), all, arrived.address, seen.address), "meet");
    std::vector<int> wanted;
    for (int i = 0; i < 8 * 64; ++i) {
        wanted.push_back(i / 64);
    }
    expect(seen.read() == wanted, "each block has its own shared memory while all run");
    all.blocks = 4 * 32 + 1;
    expect(launch(program.kernel("meet"), all, arrived.address, seen.address) == CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
           "more blocks than run at once");
}

}  // namespace

int main()
{
    start();
    Program program(kSource);
    test_blocks_of_all_sizes(program);
    test_votes(program);
    test_named_barriers(program);
    test_reports(program);
    test_blocks_that_wait_for_each_other(program);
    return finish();
}
