// cuda_language.h: the words of CUDA C that device code uses, for g++. NVRTC and nvcc have them built in.
//
// The shim's libnvrtc puts this before every kernel; a host program that only tests device functions may include it first itself.
// Nothing here includes a header of the standard library: kernels are compiled by the hundred, and <cmath> takes longer than a kernel.
#pragma once

#include "language/atomics.h"
#include "language/barriers.h"
#include "language/bits.h"
#include "language/entry.h"
#include "language/keywords.h"
#include "language/machine.h"
#include "language/math.h"
#include "language/memory.h"
#include "language/threads.h"
#include "language/undefined.h"
#include "language/vector_types.h"
#include "language/warp.h"
