// source_text.h: what must be found or changed in a text of CUDA C++ before g++ reads it.
#pragma once

#include <string>
#include <vector>

namespace mamba_host {

// `extern __shared__ T name[];` as a pointer to the block's dynamic shared memory. Lines stay where they were.
std::string with_dynamic_shared(const std::string& source);

// A test of the block's size at the start of every kernel with __launch_bounds__, whose arguments only the compiler can evaluate.
std::string with_launch_bounds_tested(const std::string& source);

// The names of all kernels that are declared extern "C": they can be asked for without a name expression.
std::vector<std::string> plain_kernels(const std::string& source);

}  // namespace mamba_host
