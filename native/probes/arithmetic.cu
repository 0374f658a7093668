// arithmetic.cu: what this card computes in registers: the ceilings of operations that memory does not limit.
//
//   exponentials     ex2, the special-function units' way of any exponential     kChains a thread and step
//   multiply_adds    float32                                                     kChains a thread and step
//   products         mma.sync, 16 x 8 x 16 of fp16, sums in float                kTiles a warp and step
//   wide_products    wgmma, 64 x 256 x 16 of fp16, sums in float                 four a group of four warps and step; sm_90a alone
//
// Chains of a thread do not depend on one another, so that the units are never waited for. Operands are no zeros: a card that switches many
// bits may run at a lower clock, as it does in a model.
#include "mamba/fast_math.cuh"
#include "mamba/mma.cuh"
#include "mamba/wgmma.cuh"

constexpr int kChains = 8;
constexpr int kTiles = 8;

// A number near 1, of either sign, as fp16 bits; another for each i.
__device__ inline unsigned int some_fp16(unsigned int i)
{
    unsigned int bits = i * 2654435761u >> 16;
    return 0x3800u | (bits & 0x83ffu);
}

__device__ inline unsigned int some_pair(unsigned int i) { return some_fp16(2 * i) | some_fp16(2 * i + 1) << 16; }

// What the compiler cannot know to be never: so it has to compute.
__device__ inline void keep(float sum, float *never)
{
    if (sum == 12345.678f)
    {
        *never = sum;
    }
}

extern "C" __global__ void exponentials(int steps, float *never)
{
    float values[kChains];
    for (int i = 0; i < kChains; i++)
    {
        values[i] = 0.01f * static_cast<float>(threadIdx.x + i);
    }

    // 2^-x comes to rest at 0.64, far from infinity and from what is flushed to zero.
    for (int step = 0; step < steps; step++)
    {
#pragma unroll
        for (int i = 0; i < kChains; i++)
        {
            values[i] = mamba::exp2_approx(-values[i]);
        }
    }

    float sum = 0.0f;
    for (int i = 0; i < kChains; i++)
    {
        sum += values[i];
    }

    keep(sum, never);
}

extern "C" __global__ void multiply_adds(int steps, float *never)
{
    float values[kChains];
    float factor = 0.5f + 0.001f * static_cast<float>(threadIdx.x % 32);
    float summand = 0.25f + 0.001f * static_cast<float>(threadIdx.x / 32);
    for (int i = 0; i < kChains; i++)
    {
        values[i] = 0.01f * static_cast<float>(threadIdx.x + i);
    }

    for (int step = 0; step < steps; step++)
    {
#pragma unroll
        for (int i = 0; i < kChains; i++)
        {
            values[i] = fmaf(values[i], factor, summand);
        }
    }

    float sum = 0.0f;
    for (int i = 0; i < kChains; i++)
    {
        sum += values[i];
    }

    keep(sum, never);
}

extern "C" __global__ void products(int steps, float *never)
{
    unsigned int a[4];
    unsigned int b[2];
    float d[kTiles][4] = {};
    for (int i = 0; i < 4; i++)
    {
        a[i] = some_pair(threadIdx.x * 8 + i);
    }

    for (int i = 0; i < 2; i++)
    {
        b[i] = some_pair(threadIdx.x * 8 + 4 + i);
    }

    for (int step = 0; step < steps; step++)
    {
#pragma unroll
        for (int i = 0; i < kTiles; i++)
        {
            mamba::multiply_accumulate<mamba::fp16>(d[i], a, b);
        }
    }

    float sum = 0.0f;
    for (int i = 0; i < kTiles * 4; i++)
    {
        sum += d[i / 4][i % 4];
    }

    keep(sum, never);
}

#if defined(MAMBA_HAS_WGMMA)

extern "C" __global__ void __launch_bounds__(256) wide_products(int steps, float *never)
{
    constexpr int kRowWords = 32;
    constexpr int kLeftRows = 64;
    constexpr int kRightRows = 256;
    __shared__ __align__(1024) unsigned int left[kLeftRows * kRowWords];
    __shared__ __align__(1024) unsigned int right[kRightRows * kRowWords];
    for (int i = static_cast<int>(threadIdx.x); i < kLeftRows * kRowWords; i += static_cast<int>(blockDim.x))
    {
        left[i] = some_pair(i);
    }

    for (int i = static_cast<int>(threadIdx.x); i < kRightRows * kRowWords; i += static_cast<int>(blockDim.x))
    {
        right[i] = some_pair(i + kLeftRows * kRowWords);
    }

    mamba::async_proxy_fence();
    __syncthreads();
    float d[32][4] = {};
    unsigned long long a = mamba::matrix_descriptor(left);
    unsigned long long b = mamba::matrix_descriptor(right);
    for (int step = 0; step < steps; step++)
    {
        mamba::wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; k++)
        {
            mamba::wgmma<mamba::fp16>(d, a + 2 * k, b + 2 * k, true);
        }

        mamba::wgmma_commit();
        mamba::wgmma_wait<1>();
    }

    mamba::wgmma_wait<0>();
    float sum = 0.0f;
    for (int i = 0; i < 128; i++)
    {
        sum += d[i / 4][i % 4];
    }

    keep(sum, never);
}

#endif
