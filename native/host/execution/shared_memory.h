// shared_memory.h: a block's shared memory: what a launch asks for, and what a module declares.
#pragma once

#include <cstddef>

namespace mamba_host {

// Dynamic shared memory of one block. It ends, but for alignment, at a page that is not accessible.
class DynamicShared {
public:
    explicit DynamicShared(std::size_t capacity);
    ~DynamicShared();
    DynamicShared(const DynamicShared&) = delete;
    DynamicShared& operator=(const DynamicShared&) = delete;

    // Memory for a block, all of it poison. 128-byte aligned, as the device's is.
    void* prepare(std::size_t bytes, unsigned char poison);

    // Whether the bytes between the end and the inaccessible page are as prepare left them.
    bool is_intact() const;

private:
    std::byte* _region;
    std::size_t _capacity;
    std::byte* _end = nullptr;
};

// The __shared__ variables of a module: they are its thread-local storage, so each thread of the operating system has its own.
struct StaticShared {
    std::size_t tls_module = 0;
    std::size_t bytes = 0;

    // Makes poison of those that belong to the calling thread.
    void poison(unsigned char value) const;
};

}  // namespace mamba_host
