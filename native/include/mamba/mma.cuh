// mma.cuh: products of small matrices by a warp's tensor cores, D += A B, with bf16 or fp16 operands and float sums.
//
//   A 16 x 16, B 16 x 8, D 16 x 8; with g = lane / 4 and t = lane % 4, a lane holds, two neighbours of a row (of a column in B) in a word:
//
//     a[0]: A[g,   2t..2t+1]      a[2]: A[g,   2t+8..2t+9]        b[0]: B[2t..2t+1, g]          d[0..1]: D[g,   2t..2t+1]
//     a[1]: A[g+8, 2t..2t+1]      a[3]: A[g+8, 2t+8..2t+9]        b[1]: B[2t+8..2t+9, g]        d[2..3]: D[g+8, 2t..2t+1]
//
//   multiply_accumulate_float(d, a, b)  the same of floats, A 16 x 8 and B 8 x 8, whose lower 13 bits are left out (tf32), one in a word:
//
//     a[0]: A[g, t]   a[1]: A[g+8, t]   a[2]: A[g, t+4]   a[3]: A[g+8, t+4]        b[0]: B[t, g]   b[1]: B[t+4, g]
//
//   load_matrices(r, row)   r[i] of a lane is the word lane % 4 of row lane / 4 of matrix i; a matrix is 8 rows of 16 bytes in shared
//                           memory, and lane l names the address of row l % 8 of matrix l / 8. So a[0..3] are the quarters of A at
//                           (0,0), (8,0), (0,8) and (8,8), and b[0..1] come from rows of the transpose of B.
//   load_matrices_transposed(r, row)   the same of the transposes of the matrices: so b[0..1] come from rows of B itself, named as those of A
//
//   multiply_accumulate_bytes(d, a, b)  the same of bytes with a sign, exact: A 16 x 32 and B 32 x 8, four neighbours in a word
//   transpose_words(words)  the 4 x 4 words of four neighbouring lanes
//
// ldmatrix and mma.m16n8k16 from sm_80 on; sm_75 has ldmatrix, and mma.m16n8k8 for fp16 only. What is missing there, and all of it on the
// host, goes by shuffles: right, and slow. All lanes of the warp take part; blocks are one-dimensional.
#pragma once

#include "mamba/shared_address.cuh"
#include "mamba/types.cuh"

namespace mamba {

__device__ __forceinline__ void load_matrices(unsigned int (&r)[4], const void* row)
{
#if defined(__CUDA_ARCH__)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    int lane = static_cast<int>(threadIdx.x % 32);
    for (int i = 0; i < 4; ++i) {
        unsigned long long address = __shfl_sync(0xffffffffu, reinterpret_cast<unsigned long long>(row), i * 8 + lane / 4);
        r[i] = reinterpret_cast<const unsigned int*>(address)[lane % 4];
    }
#endif
}

__device__ __forceinline__ void load_matrices_transposed(unsigned int (&r)[4], const void* row)
{
#if defined(__CUDA_ARCH__)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    int lane = static_cast<int>(threadIdx.x % 32);
    for (int i = 0; i < 4; ++i) {
        r[i] = 0;
        for (int half = 0; half < 2; ++half) {
            unsigned long long address = __shfl_sync(0xffffffffu, reinterpret_cast<unsigned long long>(row), i * 8 + lane % 4 * 2 + half);
            r[i] |= static_cast<unsigned int>(reinterpret_cast<const unsigned short*>(address)[lane / 4]) << (16 * half);
        }
    }
#endif
}

// The two elements of a word, the lower first.
template <typename T>
__device__ __forceinline__ float lower(unsigned int word)
{
    return to_float(T{static_cast<unsigned short>(word)});
}

template <typename T>
__device__ __forceinline__ float upper(unsigned int word)
{
    return to_float(T{static_cast<unsigned short>(word >> 16)});
}

// The products of two words, element by element, added to a sum.
template <typename T>
struct PairProducts {
    static __device__ __forceinline__ void add(float& sum, unsigned int a, unsigned int b)
    {
        sum += lower<T>(a) * lower<T>(b);
        sum += upper<T>(a) * upper<T>(b);
    }
};

struct ByteProducts {
    static __device__ __forceinline__ void add(int& sum, unsigned int a, unsigned int b)
    {
#pragma unroll
        for (int shift = 0; shift < 32; shift += 8) {
            sum += static_cast<signed char>(a >> shift) * static_cast<signed char>(b >> shift);
        }
    }
};

// Each lane gathers the two rows of A and the two columns of B that meet in its elements of D. A call, not code in place: a tile has
// hundreds of them, which took minutes to compile.
template <typename Products, typename Sum>
__device__ __noinline__ void multiply_accumulate_by_shuffles(Sum (&d)[4], const unsigned int (&a)[4], const unsigned int (&b)[2])
{
    int lane = static_cast<int>(threadIdx.x % 32);
    int row = lane & ~3;
    int column = lane % 4 * 8;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll 1
        for (int word = 0; word < 4; ++word) {
            unsigned int rows[2];
            unsigned int columns[2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                rows[i] = __shfl_sync(0xffffffffu, a[2 * half + i], row + word);
                columns[i] = __shfl_sync(0xffffffffu, b[half], column + 4 * i + word);
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                Products::add(d[i], rows[i / 2], columns[i % 2]);
            }
        }
    }
}

// What four lanes hold of four neighbouring matrices of one row, a word each, becomes a matrix's four words in each lane: lane t of the
// four goes from the t-th word of every matrix to every word of the t-th matrix.
__device__ __forceinline__ void transpose_words(unsigned int (&words)[4])
{
    int lane = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int distance = 1; distance <= 2; distance *= 2) {
        bool upper = (lane & distance) != 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if ((i & distance) == 0) {
                unsigned int taken = __shfl_xor_sync(0xffffffffu, upper ? words[i] : words[i | distance], distance);
                words[i] = upper ? taken : words[i];
                words[i | distance] = upper ? words[i | distance] : taken;
            }
        }
    }
}

template <typename T>
__device__ __forceinline__ void multiply_accumulate(float (&d)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]);

template <>
__device__ __forceinline__ void multiply_accumulate<bf16>(float (&d)[4], const unsigned int (&a)[4], const unsigned int (&b)[2])
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    multiply_accumulate_by_shuffles<PairProducts<bf16>>(d, a, b);
#endif
}

template <>
__device__ __forceinline__ void multiply_accumulate<fp16>(float (&d)[4], const unsigned int (&a)[4], const unsigned int (&b)[2])
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(__CUDA_ARCH__)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
    }
#else
    multiply_accumulate_by_shuffles<PairProducts<fp16>>(d, a, b);
#endif
}

__device__ __forceinline__ void multiply_accumulate_bytes(int (&d)[4], const unsigned int (&a)[4], const unsigned int (&b)[2])
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    multiply_accumulate_by_shuffles<ByteProducts>(d, a, b);
#endif
}

__device__ __forceinline__ void multiply_accumulate_float(float (&d)[4], const float (&a)[4], const float (&b)[2])
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
          "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else
    auto cut = [](float value) { return __uint_as_float(__float_as_uint(value) & 0xffffe000u); };
    int lane = static_cast<int>(threadIdx.x % 32);
    int row = lane & ~3;
    int column = lane % 4 * 8;
    for (int half = 0; half < 2; ++half) {
        for (int k = 0; k < 4; ++k) {
            float top = cut(__shfl_sync(0xffffffffu, a[2 * half], row + k));
            float bottom = cut(__shfl_sync(0xffffffffu, a[2 * half + 1], row + k));
            float left = cut(__shfl_sync(0xffffffffu, b[half], column + k));
            float right = cut(__shfl_sync(0xffffffffu, b[half], column + 4 + k));
            d[0] += top * left;
            d[1] += top * right;
            d[2] += bottom * left;
            d[3] += bottom * right;
        }
    }
#endif
}

}  // namespace mamba
