#include "devices.h"

#include "../environment.h"
#include "../execution/block.h"
#include "../execution/faults.h"
#include "device_memory.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdio>
#include <cstring>
#include <vector>

struct CUcontext_st {
    std::atomic<int> parts = 0;
};

namespace mamba_host {
namespace {

CUcontext_st primary;
thread_local std::vector<CUcontext> current;

}  // namespace

MultiprocessorLimits multiprocessor_limits()
{
    constexpr unsigned int kKilobyte = 1024;
    switch (Environment::get().architecture) {
    case 75:
        return {1024, 16, 64 * kKilobyte, 64 * kKilobyte};
    case 80:
    case 87:
        return {2048, 32, 164 * kKilobyte, 163 * kKilobyte};
    case 86:
    case 89:
        return {1536, 16, 100 * kKilobyte, 99 * kKilobyte};
    case 120:
        return {1536, 32, 100 * kKilobyte, 99 * kKilobyte};
    default:
        return {2048, 32, 228 * kKilobyte, 227 * kKilobyte};
    }
}

unsigned int blocks_of_multiprocessor(unsigned int threads, unsigned int shared_bytes)
{
    MultiprocessorLimits limits = multiprocessor_limits();
    unsigned int warps = (threads + kWarpLanes - 1) / kWarpLanes;
    if (threads == 0 || threads > kMaxBlockThreads || shared_bytes > limits.shared_bytes_of_block) {
        return 0;
    }
    return std::min({limits.blocks, limits.threads / kWarpLanes / warps, limits.shared_bytes / (shared_bytes + kReservedSharedBytes)});
}

namespace {

// By CUDA's numbers (CUdevice_attribute); what is not listed is 0: the device does not have it.
int attribute(int number)
{
    MultiprocessorLimits limits = multiprocessor_limits();
    switch (number) {
    case 1:  // MAX_THREADS_PER_BLOCK
    case 2:  // MAX_BLOCK_DIM_X
    case 3:  // MAX_BLOCK_DIM_Y
        return kMaxBlockThreads;
    case 4:  // MAX_BLOCK_DIM_Z
        return 64;
    case 5:  // MAX_GRID_DIM_X
        return INT_MAX;
    case 6:  // MAX_GRID_DIM_Y
    case 7:  // MAX_GRID_DIM_Z
        return 65535;
    case 8:  // MAX_SHARED_MEMORY_PER_BLOCK
        return kSharedBytesPerBlock;
    case 9:  // TOTAL_CONSTANT_MEMORY
        return 64 * 1024;
    case 10:  // WARP_SIZE
        return kWarpLanes;
    case 12:  // MAX_REGISTERS_PER_BLOCK
    case 82:  // MAX_REGISTERS_PER_MULTIPROCESSOR
        return 65536;
    case 13:  // CLOCK_RATE, of the clock that clock64() reads
        return 1000 * 1000;
    case 16:  // MULTIPROCESSOR_COUNT
        return Environment::get().multiprocessors;
    case 18:  // INTEGRATED
    case 19:  // CAN_MAP_HOST_MEMORY
    case 31:  // CONCURRENT_KERNELS
    case 41:  // UNIFIED_ADDRESSING
    case 95:  // COOPERATIVE_LAUNCH
    case 115: // MEMORY_POOLS_SUPPORTED
        return 1;
    case 36:  // MEMORY_CLOCK_RATE
        return 1000 * 1000;
    case 37:  // GLOBAL_MEMORY_BUS_WIDTH
        return 128;
    case 38:  // L2_CACHE_SIZE
        return 4 << 20;
    case 39:  // MAX_THREADS_PER_MULTIPROCESSOR
        return static_cast<int>(limits.threads);
    case 75:  // COMPUTE_CAPABILITY_MAJOR
        return Environment::get().architecture / 10;
    case 76:  // COMPUTE_CAPABILITY_MINOR
        return Environment::get().architecture % 10;
    case 81:  // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        return static_cast<int>(limits.shared_bytes);
    case 97:  // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        return static_cast<int>(limits.shared_bytes_of_block);
    case 106:  // MAX_BLOCKS_PER_MULTIPROCESSOR
        return static_cast<int>(limits.blocks);
    case 111:  // RESERVED_SHARED_MEMORY_PER_BLOCK
        return kReservedSharedBytes;
    default:
        return 0;
    }
}

}  // namespace
}  // namespace mamba_host

using namespace mamba_host;

extern "C" {

CUresult cuInit(unsigned int flags)
{
    catch_faults(&DeviceMemory::describe);
    return flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDriverGetVersion(int* version)
{
    *version = 13000;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count)
{
    *count = 1;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal)
{
    *device = 0;
    return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char* name, int capacity, CUdevice)
{
    std::snprintf(name, static_cast<std::size_t>(capacity), "MambaCuda host device");
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(void* uuid, CUdevice)
{
    std::memcpy(uuid, "MambaCuda host 0", 16);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char* text, int capacity, CUdevice)
{
    std::snprintf(text, static_cast<std::size_t>(capacity), "0000:00:00.0");
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice)
{
    *bytes = Environment::get().memory_bytes;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, int number, CUdevice)
{
    *value = attribute(number);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice)
{
    ++primary.parts;
    *context = &primary;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice)
{
    --primary.parts;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context)
{
    *context = current.empty() ? nullptr : current.back();
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    if (context != &primary) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    current.push_back(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext* context)
{
    if (current.empty()) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (context != nullptr) {
        *context = current.back();
    }
    current.pop_back();
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device)
{
    *device = 0;
    return current.empty() ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest)
{
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}

}  // extern "C"
