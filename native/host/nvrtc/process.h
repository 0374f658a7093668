// process.h: runs a program and reads what it says.
#pragma once

#include <string>
#include <vector>

namespace mamba_host {

struct Outcome {
    int exit_code;       // 127 where it could not be started
    std::string output;  // standard output and standard error
};

Outcome run_program(const std::vector<std::string>& command);

}  // namespace mamba_host
