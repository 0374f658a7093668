// options.h: NVRTC's options, as far as they mean something to g++; the others are accepted and do nothing, unknown ones are an error.
#pragma once

#include <string>
#include <vector>

namespace mamba_host {

struct Options {
    unsigned int architecture = 75;
    bool is_virtual = true;
    std::vector<std::string> arguments;  // for g++
};

// Returns what is wrong, as NVRTC's log tells it; empty where nothing is.
std::string read_options(int count, const char* const* texts, Options& options);

// What the shim says it compiles for, in NVRTC's numbers.
const std::vector<int>& supported_architectures();

}  // namespace mamba_host
