// shared_address.cuh: a pointer to shared memory as the 32-bit address that PTX instructions take. On the device only.
#pragma once

namespace mamba {

#if defined(__CUDA_ARCH__)
__device__ __forceinline__ unsigned int shared_address(const void* pointer)
{
    return static_cast<unsigned int>(__cvta_generic_to_shared(pointer));
}
#endif

}  // namespace mamba
