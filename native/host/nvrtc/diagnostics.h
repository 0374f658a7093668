// diagnostics.h: what g++ complains about, in the form of NVRTC's log.
#pragma once

#include <string>

namespace mamba_host {

// scan.cu:12:5: error: ... becomes scan.cu(12): error: ...; the folder of the compilation is taken out of paths.
std::string as_nvrtc_log(const std::string& log, const std::string& folder);

}  // namespace mamba_host
