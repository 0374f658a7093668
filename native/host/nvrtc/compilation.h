// compilation.h: one run of g++ over a source and its headers.
#pragma once

#include "options.h"

#include <map>
#include <string>
#include <vector>

namespace mamba_host {

struct Source {
    std::string name;
    std::string text;
    std::map<std::string, std::string> headers;  // by the name in the #include
    std::vector<std::string> expressions;
};

struct Compiled {
    bool is_right = false;
    std::string log;
    std::string image;                                 // the shared library
    std::map<std::string, std::string> lowered_names;  // by expression
};

Compiled compile(const Source& source, const Options& options);

}  // namespace mamba_host
