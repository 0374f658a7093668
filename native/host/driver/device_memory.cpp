#include "device_memory.h"

#include "../environment.h"
#include "errors.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace mamba_host {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kFenceBytes = 64 * 1024;
constexpr std::size_t kGuardBytes = 256;
constexpr unsigned char kFresh = 0xff;

// NaN in every format, and not the NaN that fresh memory is; its two bytes stand at even and odd addresses.
constexpr unsigned char kGuard[2] = {0xfd, 0xff};

unsigned char guard_at(const std::byte* address) { return kGuard[reinterpret_cast<std::uintptr_t>(address) & 1]; }

void fill_guard(std::byte* from, const std::byte* to)
{
    for (; from != to; ++from) {
        *from = std::byte{guard_at(from)};
    }
}

// The first and last byte of a guard that are not as they were; null where all are.
std::pair<std::byte*, std::byte*> damage_in(std::byte* from, std::byte* to)
{
    std::byte* first = nullptr;
    std::byte* last = nullptr;
    for (; from != to; ++from) {
        if (*from != std::byte{guard_at(from)}) {
            first = first == nullptr ? from : first;
            last = from;
        }
    }
    return {first, last};
}

std::byte* pointer(CUdeviceptr address) { return reinterpret_cast<std::byte*>(address); }

}  // namespace

DeviceMemory& DeviceMemory::get()
{
    static auto* const memory = new DeviceMemory;
    return *memory;
}

CUresult DeviceMemory::allocate(CUdeviceptr* address, std::size_t bytes)
{
    if (bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::lock_guard lock(_gate);
    if (bytes > Environment::get().memory_bytes - _used) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    std::size_t body = (kGuardBytes + bytes + kGuardBytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    std::size_t whole = body + 2 * kFenceBytes;
    void* region = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    auto* body_start = static_cast<std::byte*>(region) + kFenceBytes;
    if (mprotect(body_start, body, PROT_READ | PROT_WRITE) != 0) {
        munmap(region, whole);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    Allocation allocation{body_start + kGuardBytes, bytes, static_cast<std::byte*>(region), whole, ++_count};
    std::memset(allocation.start, kFresh, bytes);
    fill_guard(body_start, allocation.start);
    fill_guard(allocation.start + bytes, body_start + body);
    _allocations[allocation.start] = allocation;
    _used += bytes;
    *address = reinterpret_cast<CUdeviceptr>(allocation.start);
    return CUDA_SUCCESS;
}

CUresult DeviceMemory::free(CUdeviceptr address)
{
    if (address == 0) {
        return CUDA_SUCCESS;
    }
    if (auto damage = find_damage()) {
        report(CUDA_ERROR_ILLEGAL_ADDRESS, "Found when memory was freed: " + *damage);
    }
    std::lock_guard lock(_gate);
    auto found = _allocations.find(pointer(address));
    if (found == _allocations.end()) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    munmap(found->second.region, found->second.region_bytes);
    _used -= found->second.bytes;
    _allocations.erase(found);
    return CUDA_SUCCESS;
}

std::size_t DeviceMemory::used() const
{
    std::lock_guard lock(_gate);
    return _used;
}

std::string DeviceMemory::name(const Allocation& allocation) const
{
    return "allocation " + std::to_string(allocation.number) + " (" + std::to_string(allocation.bytes) + " bytes)";
}

std::optional<std::string> DeviceMemory::find_damage()
{
    std::lock_guard lock(_gate);
    std::optional<std::string> found;
    for (auto& [start, allocation] : _allocations) {
        std::byte* end = start + allocation.bytes;
        auto before = damage_in(start - kGuardBytes, start);
        // Only so far as a guard is certain to reach; what lies further is on the next page or one of these.
        std::byte* limit = allocation.region + allocation.region_bytes - kFenceBytes;
        auto behind = damage_in(end, std::min(limit, end + 2 * kGuardBytes));
        if (before.first != nullptr) {
            fill_guard(before.first, before.second + 1);
            found = "bytes " + std::to_string(start - before.second) + " to " + std::to_string(start - before.first) + " before "
                + name(allocation) + " were written.";
        }
        if (behind.first != nullptr) {
            fill_guard(behind.first, behind.second + 1);
            found = "bytes " + std::to_string(behind.first - end) + " to " + std::to_string(behind.second - end)
                + " behind the end of " + name(allocation) + " were written.";
        }
    }
    return found;
}

bool DeviceMemory::allows(CUdeviceptr address, std::size_t bytes) const
{
    std::lock_guard lock(_gate);
    std::byte* start = pointer(address);
    auto above = _allocations.upper_bound(start);
    if (above != _allocations.begin()) {
        const Allocation& allocation = std::prev(above)->second;
        if (start < allocation.start + allocation.bytes) {
            return bytes <= static_cast<std::size_t>(allocation.start + allocation.bytes - start);
        }
    }
    auto other = _admitted.upper_bound(start);
    if (other == _admitted.begin()) {
        return false;
    }
    auto [first, size] = *std::prev(other);
    return start <= first + size && bytes <= static_cast<std::size_t>(first + size - start);
}

void DeviceMemory::admit(const void* address, std::size_t bytes)
{
    std::lock_guard lock(_gate);
    _admitted[static_cast<std::byte*>(const_cast<void*>(address))] = bytes;
}

bool DeviceMemory::dismiss(const void* address)
{
    std::lock_guard lock(_gate);
    return _admitted.erase(static_cast<std::byte*>(const_cast<void*>(address))) != 0;
}

DeviceMemory::Snapshot DeviceMemory::save() const
{
    std::lock_guard lock(_gate);
    Snapshot snapshot;
    for (const auto& [start, allocation] : _allocations) {
        snapshot.emplace(start, std::vector(start, start + allocation.bytes));
    }
    return snapshot;
}

void DeviceMemory::restore(const Snapshot& snapshot)
{
    for (const auto& [start, bytes] : snapshot) {
        std::memcpy(start, bytes.data(), bytes.size());
    }
}

std::optional<std::string> DeviceMemory::find_difference(const Snapshot& snapshot) const
{
    std::lock_guard lock(_gate);
    for (const auto& [start, bytes] : snapshot) {
        auto differing = std::mismatch(bytes.begin(), bytes.end(), start);
        if (differing.first == bytes.end()) {
            continue;
        }
        auto offset = static_cast<std::size_t>(differing.first - bytes.begin()) & ~std::size_t{3};
        std::uint32_t one = 0;
        std::uint32_t other = 0;
        std::size_t length = std::min<std::size_t>(4, bytes.size() - offset);
        std::memcpy(&one, bytes.data() + offset, length);
        std::memcpy(&other, start + offset, length);
        char text[64];
        std::snprintf(text, sizeof text, "0x%08x and 0x%08x", one, other);
        return "byte " + std::to_string(offset) + " of " + name(_allocations.at(start)) + " is " + text;
    }
    return std::nullopt;
}

std::string DeviceMemory::describe(const void* address)
{
    DeviceMemory& memory = get();
    // The fault may have come while this thread held nothing; where another holds the gate, a plain answer must do.
    std::unique_lock lock(memory._gate, std::try_to_lock);
    if (!lock.owns_lock()) {
        return "which is not the device's";
    }
    auto* byte = static_cast<const std::byte*>(address);
    for (const auto& [start, allocation] : memory._allocations) {
        if (byte >= allocation.region && byte < allocation.region + allocation.region_bytes) {
            return byte < start ? std::to_string(start - byte) + " bytes before " + memory.name(allocation)
                                : std::to_string(byte - start - static_cast<std::ptrdiff_t>(allocation.bytes)) + " bytes behind the end of "
                    + memory.name(allocation);
        }
    }
    return "which is in no allocation";
}

}  // namespace mamba_host
