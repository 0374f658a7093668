// modules.h: what was compiled, loaded: each module is a shared library that libnvrtc of the shim made.
#pragma once

#include "../execution/shared_memory.h"
#include "../language/machine.h"
#include "cuda_types.h"

#include <memory>
#include <string>
#include <vector>

namespace mamba_host {

struct Function {
    const LoadedModule* module;
    const Kernel* kernel;
    std::string name;          // in the binary
    std::string title;         // for people
    unsigned int static_bytes; // __shared__ variables that its own code declares
    unsigned int max_dynamic_bytes;
    int preferred_carveout = -1;
};

struct LoadedModule {
    void* handle;
    const Module* content;
    StaticShared shared;
    std::vector<std::unique_ptr<Function>> functions;
};

}  // namespace mamba_host
