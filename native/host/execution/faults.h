// faults.h: what the processor reports while a kernel runs (an address that is nobody's, a stack that is full) ends the launch with an
// error instead of ending the process.
#pragma once

#include "block.h"

#include <string>

namespace mamba_host {

// Tells what lies at an address, as a part of a sentence.
using AddressDescription = std::string (*)(const void* address);

// Once for the process. Faults outside kernels go where they went before.
void catch_faults(AddressDescription describe);

// From now on, faults of the calling thread are those of the threads of this block, while it runs.
void attribute_faults_to(Block& block);

}  // namespace mamba_host
