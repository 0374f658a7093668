// host_device.h: compiles and launches small kernels on the host device, for tests.
#pragma once

#include "cuda_api.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace host_test {

inline int failures = 0;

inline void expect(bool holds, const std::string& what)
{
    if (!holds) {
        ++failures;
        std::printf("FAILED: %s\n", what.c_str());
    }
}

inline void require(int result, const char* call)
{
    if (result != 0) {
        std::printf("%s answered %d\n", call, result);
        std::exit(1);
    }
}

inline std::string error_text(CUresult error)
{
    const char* text = nullptr;
    cuGetErrorString(error, &text);
    return text == nullptr ? "" : text;
}

inline void expect_error(CUresult got, CUresult wanted, const std::string& part)
{
    expect(got == wanted, "error " + std::to_string(wanted) + " with '" + part + "', got " + std::to_string(got));
    expect(error_text(got).find(part) != std::string::npos, "'" + part + "' in: " + error_text(got));
}

// A compiled source; each kernel and variable by its name or expression.
class Program {
public:
    Program(const std::string& source, const std::vector<std::string>& expressions = {}, std::vector<const char*> options = {})
    {
        nvrtcProgram program;
        require(nvrtcCreateProgram(&program, source.c_str(), "test.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
        for (const std::string& expression : expressions) {
            require(nvrtcAddNameExpression(program, expression.c_str()), "nvrtcAddNameExpression");
        }
        options.push_back("--gpu-architecture=sm_90");
        result = nvrtcCompileProgram(program, static_cast<int>(options.size()), options.data());
        std::size_t size;
        nvrtcGetProgramLogSize(program, &size);
        log.resize(size);
        nvrtcGetProgramLog(program, log.data());
        if (result == 0) {
            nvrtcGetCUBINSize(program, &size);
            std::vector<char> image(size);
            nvrtcGetCUBIN(program, image.data());
            require(cuModuleLoadDataEx(&module, image.data(), 0, nullptr, nullptr), "cuModuleLoadDataEx");
            for (const std::string& expression : expressions) {
                const char* name;
                require(nvrtcGetLoweredName(program, expression.c_str(), &name), "nvrtcGetLoweredName");
                lowered_names.emplace_back(name);
            }
        }
        nvrtcDestroyProgram(&program);
    }

    ~Program()
    {
        if (module != nullptr) {
            cuModuleUnload(module);
        }
    }

    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    CUfunction kernel(const std::string& name) const
    {
        CUfunction function = nullptr;
        if (module == nullptr) {
            std::printf("not compiled:\n%s\n", log.c_str());
            std::exit(1);
        }
        require(cuModuleGetFunction(&function, module, name.c_str()), ("cuModuleGetFunction " + name).c_str());
        return function;
    }

    int result;
    std::string log;
    CUmodule module = nullptr;
    std::vector<std::string> lowered_names;
};

template <typename T>
class Buffer {
public:
    explicit Buffer(const std::vector<T>& values) : _count(values.size())
    {
        require(cuMemAlloc_v2(&address, _count * sizeof(T)), "cuMemAlloc_v2");
        require(cuMemcpyHtoDAsync_v2(address, values.data(), _count * sizeof(T), nullptr), "cuMemcpyHtoDAsync_v2");
    }

    ~Buffer() { cuMemFree_v2(address); }

    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    std::vector<T> read() const
    {
        std::vector<T> values(_count);
        require(cuMemcpyDtoHAsync_v2(values.data(), address, _count * sizeof(T), nullptr), "cuMemcpyDtoHAsync_v2");
        return values;
    }

    CUdeviceptr address = 0;

private:
    std::size_t _count;
};

struct Launch {
    unsigned int blocks = 1;
    unsigned int threads = 32;
    unsigned int dynamic_bytes = 0;
    bool is_cooperative = false;
    CUstream stream = nullptr;
};

template <typename... Arguments>
CUresult launch(CUfunction function, const Launch& how, Arguments... arguments)
{
    void* pointers[] = {&arguments..., nullptr};
    CUlaunchAttribute cooperative{};
    cooperative.id = kLaunchAttributeCooperative;
    cooperative.value.number = how.is_cooperative;
    CUlaunchConfig configuration{how.blocks, 1, 1, how.threads, 1, 1, how.dynamic_bytes, how.stream, &cooperative, 1};
    return cuLaunchKernelEx(&configuration, function, pointers, nullptr);
}

inline void start()
{
    setvbuf(stdout, nullptr, _IOLBF, 0);
    require(cuInit(0), "cuInit");
    CUcontext context;
    require(cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
    require(cuCtxPushCurrent_v2(context), "cuCtxPushCurrent_v2");
}

inline int finish()
{
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}

}  // namespace host_test
