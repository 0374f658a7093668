// random_stream.cuh: xoshiro256** of Blackman and Vigna (2018), the numbers of MambaCuda.Kernels.RandomStream.
#pragma once

namespace mamba {

struct RandomStream {
    unsigned long long state[4];

    // The next number, as 53 random bits: 2^53 times MambaCuda.Kernels.RandomStream.NextDouble.
    __device__ __forceinline__ unsigned long long next()
    {
        unsigned long long result = rotate_left(state[1] * 5, 7) * 9;
        unsigned long long shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = rotate_left(state[3], 45);
        return result >> 11;
    }

    static __device__ __forceinline__ unsigned long long rotate_left(unsigned long long value, int bits)
    {
        return (value << bits) | (value >> (64 - bits));
    }
};

}  // namespace mamba
