// checked_run.h: a launch with what is checked around it.
#pragma once

#include "../execution/grid.h"
#include "cuda_types.h"

#include <string>

namespace mamba_host {

// Runs and reports: failures of the kernel, and writes beside allocations. With MAMBACUDA_HOST_CHECK=1 it runs a second time from the same
// memory, threads and blocks in the opposite order and undefined shared memory of another pattern; a result that depends on either is
// reported as well.
CUresult run_checked(GridLaunch launch, const std::string& title);

}  // namespace mamba_host
