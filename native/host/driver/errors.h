// errors.h: a result's name and text. The text of a failed launch is the report of what went wrong.
#pragma once

#include "cuda_types.h"

#include <string>

namespace mamba_host {

// Writes the report to standard error, keeps it as the text of this error for the calling thread, and returns the error.
CUresult report(CUresult error, const std::string& text);

}  // namespace mamba_host
