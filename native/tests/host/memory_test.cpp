// memory_test.cpp: device memory and shared memory: atomics, limits, and accesses that go where they should not.
#include "host_device.h"

#include <cmath>

using namespace host_test;

namespace {

const char* const kSource = R"(
extern "C" __global__ void atomics(int* i, unsigned* u, unsigned long long* l, float* f)
{
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(i, 1);
    atomicMax(i + 1, k);
    atomicMin(i + 2, k);
    atomicOr(u, 1u << k % 32);
    atomicAdd(l, 1ull << 33);
    atomicAdd(f, 0.5f);
    int old;
    do {
        old = i[3];
    } while (atomicCAS(i + 3, old, old + 2) != old);
    if (atomicExch(i + 4, 1) == 0) i[5] = 7;
}

extern "C" __global__ void write_at(char* x, long long place) { x[place] = 1; }

extern "C" __global__ void read_vector(const char* x, float4* y) { *y = *reinterpret_cast<const float4*>(x); }

extern "C" __global__ void index_shared(int* x, int i)
{
    __shared__ int held[32];
    held[i] = 1;
    __syncthreads();
    *x = held[31 - i];
}

extern "C" __global__ void write_dynamic(int bytes)
{
    extern __shared__ char held[];
    held[bytes] = 1;
}

extern "C" __global__ void recurse(int* x)
{
    volatile char much[200000];
    much[*x] = 1;
    *x = much[*x + 1];
}

extern "C" __global__ void divide(int* x) { x[0] = x[0] / x[1]; }

extern "C" __global__ void check(int* x) { assert(*x == 5); }

extern "C" __global__ void spin(volatile int* x) { while (*x == 0) __nanosleep(100); }

template <int kBytes>
__global__ void declare(char* x)
{
    __shared__ char held[kBytes];
    held[threadIdx.x] = 1;
    *x = held[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(2 * 32, 1) bounded(int* x) { if (threadIdx.x == 0) *x = 1; }

extern "C" __device__ int counter = 3;
namespace space { __constant__ float table[4] = {1, 2, 3, 4}; }
extern "C" __global__ void use_globals(float* x) { *x = space::table[counter]; }
)";

void test_atomics(const Program& program)
{
    Buffer<int> i({0, 0, 1000, 0, 0, 0});
    Buffer<unsigned int> u({0});
    Buffer<unsigned long long> l({0});
    Buffer<float> f({0});
    require(launch(program.kernel("atomics"), {16, 64}, i.address, u.address, l.address, f.address), "atomics");
    expect(i.read() == std::vector<int>({1024, 1023, 0, 2048, 1, 7}), "atomics of int");
    expect(u.read()[0] == 0xffffffffu && l.read()[0] == 1024ull << 33 && f.read()[0] == 512.0f, "atomics of other types");
}

void test_allocations()
{
    CUdeviceptr fresh;
    require(cuMemAlloc_v2(&fresh, 100), "cuMemAlloc_v2");
    expect(fresh % 256 == 0, "allocations start at a multiple of 256");
    float values[25];
    require(cuMemcpyDtoHAsync_v2(values, fresh, 100, nullptr), "cuMemcpyDtoHAsync_v2");
    expect(std::isnan(values[0]) && std::isnan(values[24]), "fresh memory is NaN");
    expect(cuMemcpyDtoHAsync_v2(values, fresh + 4, 100, nullptr) == CUDA_ERROR_INVALID_VALUE, "a copy beyond the end");
    expect(cuMemsetD32Async(fresh, 0, 26, nullptr) == CUDA_ERROR_INVALID_VALUE, "a fill beyond the end");

    std::size_t free;
    std::size_t total;
    require(cuMemGetInfo_v2(&free, &total), "cuMemGetInfo_v2");
    expect(total - free == 100, "memory in use");
    CUdeviceptr much;
    expect(cuMemAlloc_v2(&much, free + 1) == CUDA_ERROR_OUT_OF_MEMORY, "more than there is");
    require(cuMemFree_v2(fresh), "cuMemFree_v2");
    expect(cuMemFree_v2(fresh) == CUDA_ERROR_INVALID_VALUE, "freed twice");
}

void test_wrong_addresses(const Program& program)
{
    Buffer<char> x(std::vector<char>(1000));
    CUfunction write_at = program.kernel("write_at");
    require(launch(write_at, {1, 1}, x.address, 999ll), "the last byte");
    expect_error(launch(write_at, {1, 1}, x.address, 1000ll), CUDA_ERROR_ILLEGAL_ADDRESS, 
                 "write_at: It writes outside its buffers: bytes 0 to 0 behind");
    expect_error(launch(write_at, {1, 1}, x.address, -2ll), CUDA_ERROR_ILLEGAL_ADDRESS, "bytes 2 to 2 before");
    expect_error(launch(write_at, {1, 1}, x.address, 9000ll), CUDA_ERROR_ILLEGAL_ADDRESS, "touches address");
    expect_error(launch(write_at, {1, 1}, CUdeviceptr{0}, 16ll), CUDA_ERROR_ILLEGAL_ADDRESS,
                 "touches address 0x10, which is in no allocation");
    require(launch(write_at, {1, 1}, x.address, 999ll), "still works");

    Buffer<float> y(std::vector<float>(4));
    require(launch(program.kernel("read_vector"), {1, 1}, x.address + 16, y.address), "an aligned vector");
#if !defined(__SANITIZE_ADDRESS__)
    // With sanitizers, their own library ends the process.
    expect_error(launch(program.kernel("read_vector"), {1, 1}, x.address + 4, y.address), CUDA_ERROR_MISALIGNED_ADDRESS,
                 "test.cu(20): 'const struct float4' at address");
    Buffer<int> place({0});
    expect_error(launch(program.kernel("index_shared"), {1, 1}, place.address, 32), CUDA_ERROR_ILLEGAL_ADDRESS,
                 "test.cu(25): index 32 is outside of 'int [32]'");
    expect_error(launch(program.kernel("recurse"), {1, 1}, place.address), CUDA_ERROR_LAUNCH_FAILED, "more than 128 KB of local memory");
#endif
}

void test_dynamic_shared_memory(const Program& program)
{
    CUfunction write = program.kernel("write_dynamic");
    require(launch(write, {1, 1, 1000}, 999), "the last byte of dynamic memory");
    expect_error(launch(write, {1, 1, 1000}, 1000), CUDA_ERROR_ILLEGAL_ADDRESS, "wrote past the 1000 bytes");
    expect_error(launch(write, {1, 1, 1000}, 1200), CUDA_ERROR_ILLEGAL_ADDRESS, "touches address");
    expect(launch(write, {1, 1, 48 * 1024 + 1}, 0) == CUDA_ERROR_INVALID_VALUE, "more than 48 KB without asking");
    constexpr int kMaxDynamic = 8;
    expect(cuFuncSetAttribute(write, kMaxDynamic, 227 * 1024 + 1) == CUDA_ERROR_INVALID_VALUE, "asking for too much");
    require(cuFuncSetAttribute(write, kMaxDynamic, 227 * 1024), "asking for 227 KB");
    require(launch(write, {1, 1, 227 * 1024}, 227 * 1024 - 1), "227 KB");

    int bytes;
    require(cuFuncGetAttribute(&bytes, 1, program.kernel(program.lowered_names[0])), "cuFuncGetAttribute");
    expect(bytes == 1000, "static shared memory of declare<1000>, got " + std::to_string(bytes));
    require(cuFuncGetAttribute(&bytes, 1, program.kernel("index_shared")), "cuFuncGetAttribute");
    expect(bytes == 128, "static shared memory of index_shared, got " + std::to_string(bytes));
}

void test_other_failures(const Program& program)
{
    Buffer<int> x({6, 0});
#if !defined(__SANITIZE_ADDRESS__)
    expect_error(launch(program.kernel("divide"), {1, 1}, x.address), CUDA_ERROR_LAUNCH_FAILED, "divides an integer by zero");
#endif
    expect_error(launch(program.kernel("check"), {1, 1}, x.address), CUDA_ERROR_ASSERT, "assertion `*x == 5` failed");
    Buffer<int> never({0});
    expect_error(launch(program.kernel("spin"), {1, 64}, never.address), CUDA_ERROR_LAUNCH_TIMEOUT, "has waited too long");
}

void test_launch_limits(const Program& program)
{
    CUfunction check = program.kernel("check");
    Buffer<int> x({5});
    require(launch(check, {1, 1024}, x.address), "1024 threads");
    expect(launch(check, {1, 1025}, x.address) == CUDA_ERROR_INVALID_VALUE, "1025 threads");
    require(launch(program.kernel("bounded"), {1, 64}, x.address), "as many threads as __launch_bounds__ allows");
    expect_error(launch(program.kernel("bounded"), {1, 96}, x.address), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "bounded: ");
    require(cuMemsetD32Async(x.address, 5, 1, nullptr), "cuMemsetD32Async");
    CUlaunchConfig tall{1, 65536, 1, 1, 1, 1, 0, nullptr, nullptr, 0};
    void* arguments[] = {&x.address};
    expect(cuLaunchKernelEx(&tall, check, arguments, nullptr) == CUDA_ERROR_INVALID_VALUE, "65536 blocks along y");
}

void test_globals(const Program& program)
{
    Buffer<float> x({0});
    require(launch(program.kernel("use_globals"), {1, 1}, x.address), "use_globals");
    expect(x.read()[0] == 4.0f, "initial values");
    CUdeviceptr address;
    std::size_t bytes;
    require(cuModuleGetGlobal_v2(&address, &bytes, program.module, "counter"), "cuModuleGetGlobal_v2");
    expect(bytes == 4, "size of a variable");
    int one = 1;
    require(cuMemcpyHtoDAsync_v2(address, &one, 4, nullptr), "write a variable");
    require(launch(program.kernel("use_globals"), {1, 1}, x.address), "use_globals");
    expect(x.read()[0] == 2.0f, "a variable that was written");
    require(cuModuleGetGlobal_v2(&address, &bytes, program.module, program.lowered_names[1].c_str()), "a variable by its lowered name");
    expect(bytes == 16, "size of a table");
    expect(cuModuleGetGlobal_v2(&address, &bytes, program.module, "check") == CUDA_ERROR_NOT_FOUND, "a kernel is no variable");
}

}  // namespace

int main()
{
    setenv("MAMBACUDA_HOST_TIMEOUT", "1", 1);
    start();
    test_allocations();
    Program program(kSource, {"declare<1000>", "&space::table"});
    test_atomics(program);
    test_wrong_addresses(program);
    test_dynamic_shared_memory(program);
    test_other_failures(program);
    test_launch_limits(program);
    test_globals(program);
    return finish();
}
