// device_memory.h: what was allocated on the device, with guards around it.
//
//   [no access, 64 KB] [guard, 256 bytes] [the allocation] [guard, to the end of a page] [no access, 64 KB]
//
// The allocation starts at a multiple of 256, as the device's do. Fresh memory is all ones: NaN in every floating-point format.
#pragma once

#include "cuda_types.h"

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace mamba_host {

struct Allocation {
    std::byte* start;
    std::size_t bytes;
    std::byte* region;
    std::size_t region_bytes;
    unsigned long number;  // counted from 1, as reports name it
};

class DeviceMemory {
public:
    static DeviceMemory& get();

    CUresult allocate(CUdeviceptr* address, std::size_t bytes);
    CUresult free(CUdeviceptr address);

    std::size_t used() const;

    // What a guard says of a write beside an allocation, and the guard renewed; nothing where all are intact.
    std::optional<std::string> find_damage();

    // Whether a range lies in one allocation, or in memory that is not the device's own (pinned, a module's variables).
    bool allows(CUdeviceptr address, std::size_t bytes) const;

    // Memory of the host that was pinned, or of a module.
    void admit(const void* address, std::size_t bytes);
    bool dismiss(const void* address);

    // All allocations, to be put back or compared.
    using Snapshot = std::map<std::byte*, std::vector<std::byte>>;
    Snapshot save() const;
    void restore(const Snapshot& snapshot);

    // Where memory differs from a snapshot, as a part of a sentence; nothing where it is the same.
    std::optional<std::string> find_difference(const Snapshot& snapshot) const;

    static std::string describe(const void* address);

private:
    std::string name(const Allocation& allocation) const;

    mutable std::mutex _gate;
    std::map<std::byte*, Allocation> _allocations;
    std::map<std::byte*, std::size_t> _admitted;
    std::size_t _used = 0;
    unsigned long _count = 0;
};

}  // namespace mamba_host
