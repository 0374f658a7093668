// grid.h: runs a kernel's blocks.
#pragma once

#include "block.h"
#include "shared_memory.h"

namespace mamba_host {

struct GridLaunch {
    const Kernel* kernel;
    void* const* arguments;
    dim3 grid;
    dim3 block;
    unsigned int dynamic_bytes;
    bool is_cooperative;  // all blocks at once, so that they can wait for each other
    StaticShared static_shared;
    bool in_turn = false;  // one block after the other
    Order order = Order::forward;
    unsigned char poison = 0xff;
};

// Comes back when all blocks have ended, or one has failed.
Failure run_grid(const GridLaunch& launch);

// What a module's code calls.
const Runtime* runtime();

}  // namespace mamba_host
