#include "shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

// The C library's own way to a module's block of thread-local storage (ELF Handling For Thread-Local Storage, section 3).
extern "C" void* __tls_get_addr(std::size_t index[2]);

namespace mamba_host {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kAlignment = 128;
constexpr std::byte kSlack{0xa5};

std::size_t whole_pages(std::size_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

}  // namespace

DynamicShared::DynamicShared(std::size_t capacity) : _capacity(whole_pages(capacity))
{
    void* region = mmap(nullptr, _capacity + 2 * kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) {
        throw std::bad_alloc();
    }
    _region = static_cast<std::byte*>(region);
    mprotect(_region + kPageBytes, _capacity, PROT_READ | PROT_WRITE);
}

DynamicShared::~DynamicShared() { munmap(_region, _capacity + 2 * kPageBytes); }

void* DynamicShared::prepare(std::size_t bytes, unsigned char poison)
{
    std::byte* limit = _region + kPageBytes + _capacity;
    std::byte* start = limit - (bytes + kAlignment - 1) / kAlignment * kAlignment;
    _end = start + bytes;
    std::memset(start, poison, bytes);
    std::fill(_end, limit, kSlack);
    return start;
}

bool DynamicShared::is_intact() const
{
    const std::byte* limit = _region + kPageBytes + _capacity;
    return std::all_of(static_cast<const std::byte*>(_end), limit, [](std::byte value) { return value == kSlack; });
}

void StaticShared::poison(unsigned char value) const
{
    if (bytes != 0) {
        std::size_t index[2] = {tls_module, 0};
        std::memset(__tls_get_addr(index), value, bytes);
    }
}

}  // namespace mamba_host
