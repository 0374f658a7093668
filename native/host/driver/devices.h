// devices.h: what the one device says it has.
#pragma once

#include "cuda_types.h"

namespace mamba_host {

constexpr unsigned int kSharedBytesPerBlock = 48 * 1024;
constexpr unsigned int kReservedSharedBytes = 1024;

// By architecture (CUDA C++ Programming Guide, technical specifications per compute capability).
struct MultiprocessorLimits {
    unsigned int threads;
    unsigned int blocks;
    unsigned int shared_bytes;
    unsigned int shared_bytes_of_block;  // where a kernel asks for it
};

MultiprocessorLimits multiprocessor_limits();

// How many blocks of a kernel a multiprocessor holds at once. Registers are no limit: the host's kernels have none to count.
unsigned int blocks_of_multiprocessor(unsigned int threads, unsigned int shared_bytes);

}  // namespace mamba_host
