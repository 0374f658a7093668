// environment.h: what the variables MAMBACUDA_HOST_... say, read once.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace mamba_host {

struct Environment {
    int architecture;                    // ARCHITECTURE: compute capability, as 9.0 (here 90)
    int multiprocessors;                 // MULTIPROCESSORS
    std::size_t memory_bytes;            // MEMORY: of the device, in bytes
    std::size_t pinned_bytes;            // PINNED_MEMORY: that one allocation on the host may have
    unsigned int worker_threads;         // THREADS: of the operating system that run blocks; the processor's unless set
    std::chrono::seconds launch_limit;   // TIMEOUT: seconds until a thread that spins is given up
    bool checks;                         // CHECK=1: every launch twice, in opposite orders; see README.md
    std::string compiler;                // CXX: the C++ compiler; g++ unless set

    static const Environment& get();
};

}  // namespace mamba_host
