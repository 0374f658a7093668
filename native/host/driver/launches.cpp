// launches.cpp: functions' attributes, and launches: what the driver would refuse is refused, the rest is run.
#include "../environment.h"
#include "../execution/grid.h"
#include "checked_run.h"
#include "devices.h"
#include "errors.h"
#include "modules.h"
#include "streams.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace mamba_host {
namespace {

struct LaunchAttributes {
    bool is_cooperative = false;
    unsigned int cluster_blocks = 1;
};

LaunchAttributes attributes_of(const CUlaunchConfig& configuration)
{
    LaunchAttributes result;
    for (unsigned int i = 0; i < configuration.numAttrs; ++i) {
        const CUlaunchAttribute& attribute = configuration.attrs[i];
        if (attribute.id == kLaunchAttributeCooperative) {
            result.is_cooperative = attribute.value.number != 0;
        } else if (attribute.id == kLaunchAttributeCluster) {
            result.cluster_blocks = attribute.value.cluster.x * attribute.value.cluster.y * attribute.value.cluster.z;
        }
    }
    return result;
}

CUresult check(const CUlaunchConfig& c, const Function& function, const LaunchAttributes& attributes)
{
    unsigned long long threads = static_cast<unsigned long long>(c.blockDimX) * c.blockDimY * c.blockDimZ;
    unsigned long long blocks = static_cast<unsigned long long>(c.gridDimX) * c.gridDimY * c.gridDimZ;
    if (threads == 0 || blocks == 0 || c.gridDimX > 0x7fffffffu || c.gridDimY > 65535 || c.gridDimZ > 65535 || c.blockDimZ > 64) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (threads > kMaxBlockThreads) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (c.sharedMemBytes > function.max_dynamic_bytes) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (attributes.cluster_blocks > 1) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    unsigned long long at_once = static_cast<unsigned long long>(Environment::get().multiprocessors)
        * blocks_of_multiprocessor(static_cast<unsigned int>(threads), function.static_bytes + c.sharedMemBytes);
    return attributes.is_cooperative && blocks > at_once ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE : CUDA_SUCCESS;
}

// The arguments of a launch, copied one behind the other as the device has them.
class Arguments {
public:
    Arguments(const Kernel& kernel, void** arguments)
    {
        std::size_t end = 0;
        for (unsigned int i = 0; i < kernel.parameter_count; ++i) {
            _offsets.push_back(offset_after(end, kernel.parameters[i]));
            end = _offsets.back() + kernel.parameters[i].bytes;
        }
        // In units that are aligned for every parameter.
        _values.resize(end / sizeof(Unit) + 1);
        for (unsigned int i = 0; i < kernel.parameter_count; ++i) {
            std::memcpy(at(i), arguments[i], kernel.parameters[i].bytes);
        }
    }

    static std::size_t offset_after(std::size_t end, Parameter parameter)
    {
        return (end + parameter.alignment - 1) / parameter.alignment * parameter.alignment;
    }

    std::vector<void*> pointers() const
    {
        std::vector<void*> result;
        for (unsigned int i = 0; i < _offsets.size(); ++i) {
            result.push_back(const_cast<Arguments*>(this)->at(i));
        }
        return result;
    }

private:
    struct alignas(64) Unit {
        std::byte bytes[64];
    };

    void* at(unsigned int parameter) { return reinterpret_cast<std::byte*>(_values.data()) + _offsets[parameter]; }

    std::vector<std::size_t> _offsets;
    std::vector<Unit> _values;
};

}  // namespace
}  // namespace mamba_host

using namespace mamba_host;

extern "C" {

CUresult cuLaunchKernelEx(const CUlaunchConfig* configuration, CUfunction function, void** parameters, void** extra)
{
    LaunchAttributes attributes = attributes_of(*configuration);
    CUresult answer = extra != nullptr ? CUDA_ERROR_NOT_SUPPORTED : check(*configuration, *function, attributes);
    if (answer != CUDA_SUCCESS) {
        return answer;
    }
    const CUlaunchConfig& c = *configuration;
    GridLaunch launch{function->kernel,
                      nullptr,
                      dim3(c.gridDimX, c.gridDimY, c.gridDimZ),
                      dim3(c.blockDimX, c.blockDimY, c.blockDimZ),
                      c.sharedMemBytes,
                      attributes.is_cooperative,
                      function->module->shared};
    return submit(c.hStream, {Work::Kind::kernel, function, [launch, function, arguments = Arguments(*function->kernel, parameters)] {
                                  std::vector<void*> pointers = arguments.pointers();
                                  GridLaunch with_arguments = launch;
                                  with_arguments.arguments = pointers.data();
                                  return run_checked(with_arguments, function->title);
                              }});
}

CUresult cuFuncGetAttribute(int* value, int attribute, CUfunction function)
{
    switch (attribute) {
    case 0:  // MAX_THREADS_PER_BLOCK
        *value = kMaxBlockThreads;
        return CUDA_SUCCESS;
    case 1:  // SHARED_SIZE_BYTES
        *value = static_cast<int>(function->static_bytes);
        return CUDA_SUCCESS;
    case 2:  // CONST_SIZE_BYTES
    case 3:  // LOCAL_SIZE_BYTES
    case 7:  // CACHE_MODE_CA
    case 14: // NON_PORTABLE_CLUSTER_SIZE_ALLOWED
        *value = 0;
        return CUDA_SUCCESS;
    case 4:  // NUM_REGS: a plain number, so that arithmetic with it works
        *value = 32;
        return CUDA_SUCCESS;
    case 5:  // PTX_VERSION
    case 6:  // BINARY_VERSION
        *value = static_cast<int>(function->module->content->architecture);
        return CUDA_SUCCESS;
    case 8:  // MAX_DYNAMIC_SHARED_SIZE_BYTES
        *value = static_cast<int>(function->max_dynamic_bytes);
        return CUDA_SUCCESS;
    case 9:  // PREFERRED_SHARED_MEMORY_CARVEOUT
        *value = function->preferred_carveout;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value)
{
    switch (attribute) {
    case 8: {
        auto most = static_cast<int>(multiprocessor_limits().shared_bytes_of_block - function->static_bytes);
        if (value < 0 || value > most) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        function->max_dynamic_bytes = static_cast<unsigned int>(value);
        return CUDA_SUCCESS;
    }
    case 9:
        if (value < -1 || value > 100) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        function->preferred_carveout = value;
        return CUDA_SUCCESS;
    case 14:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuFuncGetParamInfo(CUfunction function, std::size_t index, std::size_t* offset, std::size_t* bytes)
{
    const Kernel& kernel = *function->kernel;
    if (index >= kernel.parameter_count) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::size_t end = 0;
    for (std::size_t i = 0; i <= index; ++i) {
        *offset = Arguments::offset_after(end, kernel.parameters[i]);
        *bytes = kernel.parameters[i].bytes;
        end = *offset + *bytes;
    }
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int threads, std::size_t dynamic_bytes)
{
    *blocks = threads < 1 ? 0
                          : static_cast<int>(blocks_of_multiprocessor(
                              static_cast<unsigned int>(threads), function->static_bytes + static_cast<unsigned int>(dynamic_bytes)));
    return threads < 1 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSize(int* grid, int* block, CUfunction function, std::size_t (*dynamic_bytes_of)(int),
                                          std::size_t dynamic_bytes, int limit)
{
    unsigned int most = kMaxBlockThreads;
    if (limit > 0) {
        most = std::min(most, static_cast<unsigned int>(limit));
    }
    unsigned int best = 0;
    *grid = *block = 0;
    for (unsigned int threads = most; threads > 0; threads = threads > kWarpLanes ? (threads - 1) / kWarpLanes * kWarpLanes : 0) {
        std::size_t dynamic = dynamic_bytes_of != nullptr ? dynamic_bytes_of(static_cast<int>(threads)) : dynamic_bytes;
        unsigned int blocks = blocks_of_multiprocessor(threads, function->static_bytes + static_cast<unsigned int>(dynamic));
        if (blocks * threads > best) {
            best = blocks * threads;
            *block = static_cast<int>(threads);
            *grid = static_cast<int>(blocks) * Environment::get().multiprocessors;
        }
    }
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction, const CUlaunchConfig*)
{
    *clusters = 0;
    return CUDA_ERROR_NOT_SUPPORTED;
}

}  // extern "C"
