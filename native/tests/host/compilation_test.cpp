// compilation_test.cpp: the shim's NVRTC: names, options, messages, and the language that device code is written in.
#include "host_device.h"

#include <cmath>
#include <cstdint>

using namespace host_test;

namespace {

const char* const kLanguage = R"(
#include <stdint.h>

struct Params { const float* x; float* y; long long count; };

namespace mamba {
template <typename T, int kTimes>
__global__ void __launch_bounds__(128, 2) scale(const __grid_constant__ Params p)
{
    long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < p.count) p.y[i] = static_cast<T>(p.x[i]) * kTimes;
}
}

extern "C" {
__global__ __launch_bounds__(64) void in_block(float* x) { *x = 1; }
}

// extern "C" __global__ void in_comment();
extern "C" __global__ void functions(float* f, unsigned* u)
{
    f[0] = exp2f(3.0f) + __expf(0.0f) + log2f(8.0f) + __logf(1.0f) + __fdividef(6.0f, 3.0f) + rsqrtf(0.25f) + __frcp_rn(4.0f);
    f[1] = __fmaf_rn(1.0f + 0x1p-12f, 1.0f + 0x1p-12f, -1.0f);
    f[2] = __saturatef(1.5f) + __saturatef(-1.0f) + fmaxf(1.0f, 2.0f) + fminf(1.0f, 2.0f) + tanhf(0.0f);
    f[3] = __int_as_float(__float_as_int(1.5f)) + max(1.0f, 3.0f) + min(2, 1);
    float4 v = make_float4(1, 2, 3, 4);
    f[4] = v.x + v.y + v.z + v.w;
    u[0] = __float2int_rn(2.5f) + __float2int_rn(3.5f);
    u[1] = __byte_perm(0x33221100u, 0x77665544u, 0x7250u);
    u[2] = __funnelshift_l(0x80000000u, 1u, 4);
    u[3] = __funnelshift_r(0x80000000u, 1u, 4);
    u[4] = __popc(0xffu) + __clz(1) + __ffs(8) + __clz(0);
    u[5] = __brev(1u);
    u[6] = __umulhi(0x80000000u, 6u) + __mul24(3, -2);
    u[7] = sizeof(float4) * 100 + alignof(float4);
    u[8] = __ldg(u + 7) + static_cast<unsigned>(__cvta_generic_to_shared(u) != 0);
    u[9] = MAMBA_HOST_ARCHITECTURE + VALUE;
    uint32_t same = u[9];
    u[10] = same;
#if defined(__CUDA_ARCH__)
    u[11] = 1;
#else
    u[11] = 2;
#endif
}
)";

void test_language()
{
    Program program(kLanguage, {"mamba::scale<float, 3>", "mamba::scale<int, 2>"},
                    {"--std=c++17", "-DVALUE=5", "--use_fast_math", "-lineinfo", "--no-source-include"});
    Buffer<float> f(std::vector<float>(5));
    Buffer<unsigned int> u(std::vector<unsigned int>(12));
    require(launch(program.kernel("functions"), {1, 1}, f.address, u.address), "functions");
    std::vector<float> floats = {8 + 1 + 3 + 0 + 2 + 2 + 0.25f, 0x1p-11f + 0x1p-24f, 1 + 0 + 2 + 1 + 0, 1.5f + 3 + 1, 10};
    std::vector<unsigned int> integers = {2 + 4,       0x77225500u, 0x18u, 0x18000000u, 8 + 31 + 4 + 32, 0x80000000u,
                                          3 - 6u,      1616,        1617,  905,         905,             2};
    expect(f.read() == floats, "floats");
    expect(u.read() == integers, "integers");
    require(launch(program.kernel("in_block"), {1, 1}, f.address), "a kernel of an extern \"C\" block");
    expect(program.lowered_names[0] == "_ZN5mamba5scaleIfLi3EEEv6Params", "lowered name, got " + program.lowered_names[0]);

    struct {
        CUdeviceptr x, y;
        long long count;
    } params{};
    Buffer<float> x({1.5f, 2.5f, 3.5f});
    params = {x.address, f.address, 2};
    require(launch(program.kernel(program.lowered_names[1]), {1, 32}, params), "scale<int, 2>");
    expect(f.read()[0] == 2.0f && f.read()[1] == 4.0f, "a template with a struct of parameters");
    std::size_t offset;
    std::size_t bytes;
    require(cuFuncGetParamInfo(program.kernel(program.lowered_names[0]), 0, &offset, &bytes), "cuFuncGetParamInfo");
    expect(offset == 0 && bytes == 24, "parameters of a kernel");
    CUresult second = cuFuncGetParamInfo(program.kernel(program.lowered_names[0]), 1, &offset, &bytes);
    expect(second == CUDA_ERROR_INVALID_VALUE, "one parameter only");
}

void expect_log(const Program& program, int result, const std::string& part)
{
    expect(program.result == result, "NVRTC result " + std::to_string(result) + ", got " + std::to_string(program.result));
    expect(program.log.find(part) != std::string::npos, "'" + part + "' in: " + program.log);
}

void test_messages()
{
    constexpr int kInvalidOption = 5;
    constexpr int kCompilation = 6;
    expect_log(Program("\nextern \"C\" __global__ void f() { undeclared(); }\n"), kCompilation,
               "test.cu(2): error: 'undeclared' was not declared");
    expect_log(Program("#include \"absent.cuh\"\n"), kCompilation, "test.cu(1): catastrophic error: absent.cuh");
    expect_log(Program("__device__ void g();\nextern \"C\" __global__ void f() { g(); }\n"), kCompilation, "undefined reference to `g()'");
    expect_log(Program("", {"absent<float>"}), kCompilation, "name expression absent<float>(1): error: ");
    expect_log(Program("", {}, {"--no-such-option"}), kInvalidOption, "unrecognized option --no-such-option");
    expect_log(Program("", {}, {"-arch=sm_52"}), kInvalidOption, "invalid value for --gpu-architecture");
    expect_log(Program("#warning noted\n"), 0, "test.cu(1): warning: #warning noted");
}

}  // namespace

int main()
{
    start();
    test_language();
    test_messages();
    return finish();
}
