// elf_image.h: the little that must be known of a shared library's file.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace mamba_host {

// The length of the image, which starts here and carries no length with it; 0 where it is no such file.
std::size_t elf_length(const void* image);

struct SharedVariable {
    std::string name;
    std::size_t bytes;
};

// The thread-local variables by their names in the binary.
std::vector<SharedVariable> shared_variables(const void* image);

}  // namespace mamba_host
