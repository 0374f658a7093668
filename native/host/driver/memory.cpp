// memory.cpp: allocation, pools, pinned memory, copies and fills.
#include "../environment.h"
#include "device_memory.h"
#include "errors.h"
#include "streams.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string>

namespace mamba_host {

// Freed memory goes back at once whatever the threshold, so that a use after it is found.
struct MemoryPool {
    unsigned long long release_threshold = 0;
    unsigned long long used = 0;
    unsigned long long peak = 0;
};

namespace {

std::mutex pool_gate;
MemoryPool default_pool;
std::map<CUdeviceptr, std::pair<MemoryPool*, std::size_t>> pooled;

CUresult allocate_from(MemoryPool& pool, CUdeviceptr* address, std::size_t bytes, CUstream stream)
{
    // In a graph, allocation is a node of its own; the library has no use for it.
    if (stream_of(stream).capture != nullptr) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    CUresult result = DeviceMemory::get().allocate(address, bytes);
    if (result == CUDA_SUCCESS) {
        std::lock_guard lock(pool_gate);
        pooled[*address] = {&pool, bytes};
        pool.used += bytes;
        pool.peak = std::max(pool.peak, pool.used);
    }
    return result;
}

// Behind what other threads of the host have running, as on a device: it may be using the memory.
CUresult release(CUdeviceptr address)
{
    return submit(nullptr, {Work::Kind::fill, nullptr, [address] {
                                std::lock_guard lock(pool_gate);
                                if (auto found = pooled.find(address); found != pooled.end()) {
                                    found->second.first->used -= found->second.second;
                                    pooled.erase(found);
                                }
                                return DeviceMemory::get().free(address);
                            }});
}

template <typename T>
CUresult fill(CUdeviceptr destination, T value, std::size_t count, CUstream stream)
{
    if (!DeviceMemory::get().allows(destination, count * sizeof(T)) || destination % sizeof(T) != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return submit(stream, {Work::Kind::fill, nullptr, [=] {
                               std::fill_n(reinterpret_cast<T*>(destination), count, value);
                               return CUDA_SUCCESS;
                           }});
}

CUresult copy(void* destination, const void* source, std::size_t bytes, CUstream stream)
{
    return submit(stream, {Work::Kind::copy, nullptr, [=] {
                               std::memmove(destination, source, bytes);
                               return CUDA_SUCCESS;
                           }});
}

}  // namespace
}  // namespace mamba_host

using namespace mamba_host;

extern "C" {

CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total)
{
    *total = Environment::get().memory_bytes;
    *free = *total - DeviceMemory::get().used();
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes)
{
    CUresult result = check_may_wait();
    return result != CUDA_SUCCESS ? result : DeviceMemory::get().allocate(address, bytes);
}

CUresult cuMemFree_v2(CUdeviceptr address)
{
    CUresult result = check_may_wait();
    return result != CUDA_SUCCESS ? result : release(address);
}

CUresult cuMemAllocAsync(CUdeviceptr* address, std::size_t bytes, CUstream stream)
{
    return allocate_from(default_pool, address, bytes, stream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr* address, std::size_t bytes, CUmemoryPool pool, CUstream stream)
{
    return allocate_from(*pool, address, bytes, stream);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream)
{
    return stream_of(stream).capture != nullptr ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : release(address);
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice)
{
    *pool = &default_pool;
    return CUDA_SUCCESS;
}

CUresult cuMemPoolCreate(CUmemoryPool* pool, const void*)
{
    *pool = new MemoryPool;
    return CUDA_SUCCESS;
}

CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
    std::lock_guard lock(pool_gate);
    if (pool->used == 0) {
        delete pool;
    }
    return CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool, std::size_t) { return CUDA_SUCCESS; }

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, unsigned long long* value)
{
    std::lock_guard lock(pool_gate);
    switch (attribute) {
    case 4:  // RELEASE_THRESHOLD
        *value = pool->release_threshold;
        return CUDA_SUCCESS;
    case 5:  // RESERVED_MEM_CURRENT
    case 7:  // USED_MEM_CURRENT
        *value = pool->used;
        return CUDA_SUCCESS;
    case 6:  // RESERVED_MEM_HIGH
    case 8:  // USED_MEM_HIGH
        *value = pool->peak;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, const unsigned long long* value)
{
    std::lock_guard lock(pool_gate);
    if (attribute == 4) {
        pool->release_threshold = *value;
    } else if (attribute == 6 || attribute == 8) {
        pool->peak = pool->used;
    }
    return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** address, std::size_t bytes, unsigned int)
{
    constexpr std::size_t kPageBytes = 4096;
    bool refused = bytes == 0 || bytes > Environment::get().pinned_bytes;
    *address = refused ? nullptr : std::aligned_alloc(kPageBytes, (bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
    if (*address == nullptr) {
        return bytes == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
    }
    DeviceMemory::get().admit(*address, bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void* address)
{
    if (!DeviceMemory::get().dismiss(address)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::free(address);
    return CUDA_SUCCESS;
}

CUresult cuMemHostRegister_v2(void* address, std::size_t bytes, unsigned int)
{
    if (address == nullptr || bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (DeviceMemory::get().allows(reinterpret_cast<CUdeviceptr>(address), 1)) {
        return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    }
    DeviceMemory::get().admit(address, bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void* address)
{
    return DeviceMemory::get().dismiss(address) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* device, void* host, unsigned int)
{
    *device = reinterpret_cast<CUdeviceptr>(host);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr destination, const void* source, std::size_t bytes, CUstream stream)
{
    return DeviceMemory::get().allows(destination, bytes) ? copy(reinterpret_cast<void*>(destination), source, bytes, stream)
                                                         : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyDtoHAsync_v2(void* destination, CUdeviceptr source, std::size_t bytes, CUstream stream)
{
    return DeviceMemory::get().allows(source, bytes) ? copy(destination, reinterpret_cast<const void*>(source), bytes, stream)
                                                    : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr destination, CUdeviceptr source, std::size_t bytes, CUstream stream)
{
    const DeviceMemory& memory = DeviceMemory::get();
    return memory.allows(destination, bytes) && memory.allows(source, bytes)
        ? copy(reinterpret_cast<void*>(destination), reinterpret_cast<const void*>(source), bytes, stream)
        : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemsetD8Async(CUdeviceptr destination, unsigned char value, std::size_t count, CUstream stream)
{
    return fill(destination, value, count, stream);
}

CUresult cuMemsetD16Async(CUdeviceptr destination, unsigned short value, std::size_t count, CUstream stream)
{
    return fill(destination, value, count, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr destination, unsigned int value, std::size_t count, CUstream stream)
{
    return fill(destination, value, count, stream);
}

}  // extern "C"
