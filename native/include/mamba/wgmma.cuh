// wgmma.cuh: products of matrices in shared memory by four warps' tensor cores, D += A B, with bf16 or fp16 operands and float sums.
//
//   A 64 x 16, B 16 x kColumns (256, 128 or 64), D 64 x kColumns. Warp w of the four holds rows 16 w to 16 w + 15 of D, in the layout of
//   mma.cuh: d[j] of a lane belongs to columns 8 j to 8 j + 7.
//
//   A and the transpose of B lie in shared memory in rows of 128 bytes (64 elements), whose 16-byte pieces are at piece ^ (row % 8); their
//   first rows lie at multiples of 1024 bytes. matrix_descriptor(row) names such a matrix; adding 2 to it goes 16 elements along the rows.
//
//   wgmma_rows(d, a, b): A in registers, each warp its 16 rows as in mma.cuh, and B itself, not its transpose, in rows of 128 bytes: 16 rows of
//   64 columns, and for 128 columns 16 more, so many bytes on. row_descriptor(row, bytes) names it; adding 128 goes 16 rows on.
//
//   wgmma_fence()      before the first product, and wherever registers of D were touched since
//   wgmma_commit()     the products so far, since the last commit, are one group
//   wgmma_wait<n>()    until all groups but the latest n are done
//   wgmma_done(d)      after that, before D is read: keeps the compiler from reading it sooner
//   async_proxy_fence()  between a thread's writes to shared memory and the barrier after which a product reads them
//
// For sm_90a, and for the host, where the product is done at once; MAMBA_HAS_WGMMA is defined where it is there.
#pragma once

#include "mamba/shared_address.cuh"
#include "mamba/types.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
#define MAMBA_HAS_WGMMA
#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace mamba {

__device__ __forceinline__ unsigned long long matrix_descriptor(const void* row)
{
    // Address in units of 16 bytes; distance of groups of eight rows, 1024 bytes, in the same; swizzle of 128 bytes.
    return ((shared_address(row) & 0x3ffffu) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}

__device__ __forceinline__ unsigned long long row_descriptor(const void* row, int bytes)
{
    return ((shared_address(row) & 0x3ffffu) >> 4) | (static_cast<unsigned long long>(bytes >> 4) << 16) | (64ull << 32) | (1ull << 62);
}

template <int kMatrices>
__device__ __forceinline__ void wgmma_done(float (&d)[kMatrices][4])
{
#pragma unroll
    for (int i = 0; i < kMatrices; ++i) {
        asm volatile("" : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])::"memory");
    }
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int kPending>
__device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

__device__ __forceinline__ void async_proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// clang-format off
#define MAMBA_FOUR(i) "+f"(d[(i) / 4][0]), "+f"(d[(i) / 4][1]), "+f"(d[(i) / 4][2]), "+f"(d[(i) / 4][3])
#define MAMBA_SIXTEEN(i) MAMBA_FOUR(i), MAMBA_FOUR((i) + 4), MAMBA_FOUR((i) + 8), MAMBA_FOUR((i) + 12)

// Where accumulate is false, D was 0.
template <typename T>
__device__ __forceinline__ void wgmma(float (&d)[32][4], unsigned long long a, unsigned long long b, bool accumulate);

template <typename T>
__device__ __forceinline__ void wgmma(float (&d)[16][4], unsigned long long a, unsigned long long b, bool accumulate);

template <typename T>
__device__ __forceinline__ void wgmma(float (&d)[8][4], unsigned long long a, unsigned long long b, bool accumulate);

template <typename T>
__device__ __forceinline__ void wgmma_rows(float (&d)[8][4], const unsigned int (&a)[4], unsigned long long b);

template <typename T>
__device__ __forceinline__ void wgmma_rows(float (&d)[16][4], const unsigned int (&a)[4], unsigned long long b);

// All of them for a type of operands, by the name that PTX has for it.
#define MAMBA_WGMMA_OF(T, type) \
template <>                                                                                                            \
__device__ __forceinline__ void wgmma<T>(float (&d)[32][4], unsigned long long a, unsigned long long b, bool accumulate) \
{                                                                                                                      \
    asm volatile("{\n"                                                                                                 \
        ".reg .pred accumulate;\n"                                                                                     \
        "setp.ne.b32 accumulate, %130, 0;\n"                                                                           \
        "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type " {"                                              \
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                       \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                             \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                             \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "                             \
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "                             \
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "                             \
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "                 \
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "            \
        "%128, %129, accumulate, 1, 1, 0, 0;\n}"                                                                       \
        : MAMBA_SIXTEEN(0),                                                                                            \
          MAMBA_SIXTEEN(16),                                                                                           \
          MAMBA_SIXTEEN(32),                                                                                           \
          MAMBA_SIXTEEN(48),                                                                                           \
          MAMBA_SIXTEEN(64),                                                                                           \
          MAMBA_SIXTEEN(80),                                                                                           \
          MAMBA_SIXTEEN(96),                                                                                           \
          MAMBA_SIXTEEN(112)                                                                                           \
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                                          \
}                                                                                                                      \
                                                                                                                       \
template <>                                                                                                            \
__device__ __forceinline__ void wgmma<T>(float (&d)[16][4], unsigned long long a, unsigned long long b, bool accumulate) \
{                                                                                                                      \
    asm volatile("{\n"                                                                                                 \
        ".reg .pred accumulate;\n"                                                                                     \
        "setp.ne.b32 accumulate, %66, 0;\n"                                                                            \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {"                                              \
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                       \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                             \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                             \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "                            \
        "%64, %65, accumulate, 1, 1, 0, 0;\n}"                                                                         \
        : MAMBA_SIXTEEN(0),                                                                                            \
          MAMBA_SIXTEEN(16),                                                                                           \
          MAMBA_SIXTEEN(32),                                                                                           \
          MAMBA_SIXTEEN(48)                                                                                            \
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                                          \
}                                                                                                                      \
                                                                                                                       \
template <>                                                                                                            \
__device__ __forceinline__ void wgmma<T>(float (&d)[8][4], unsigned long long a, unsigned long long b, bool accumulate) \
{                                                                                                                      \
    asm volatile("{\n"                                                                                                 \
        ".reg .pred accumulate;\n"                                                                                     \
        "setp.ne.b32 accumulate, %34, 0;\n"                                                                            \
        "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {"                                               \
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                       \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "                            \
        "%32, %33, accumulate, 1, 1, 0, 0;\n}"                                                                         \
        : MAMBA_SIXTEEN(0),                                                                                            \
          MAMBA_SIXTEEN(16)                                                                                            \
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                                          \
}                                                                                                                      \
                                                                                                                       \
template <>                                                                                                            \
__device__ __forceinline__ void wgmma_rows<T>(float (&d)[8][4], const unsigned int (&a)[4], unsigned long long b)      \
{                                                                                                                      \
    asm volatile("{\n"                                                                                                 \
        ".reg .pred accumulate;\n"                                                                                     \
        "setp.ne.b32 accumulate, %37, 0;\n"                                                                            \
        "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {"                                               \
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                       \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "                            \
        "{%32, %33, %34, %35}, %36, accumulate, 1, 1, 1;\n}"                                                           \
        : MAMBA_SIXTEEN(0),                                                                                            \
          MAMBA_SIXTEEN(16)                                                                                            \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));                                                 \
}                                                                                                                      \
                                                                                                                       \
template <>                                                                                                            \
__device__ __forceinline__ void wgmma_rows<T>(float (&d)[16][4], const unsigned int (&a)[4], unsigned long long b)     \
{                                                                                                                      \
    asm volatile("{\n"                                                                                                 \
        ".reg .pred accumulate;\n"                                                                                     \
        "setp.ne.b32 accumulate, %69, 0;\n"                                                                            \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {"                                              \
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                       \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                             \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                             \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "                            \
        "{%64, %65, %66, %67}, %68, accumulate, 1, 1, 1;\n}"                                                           \
        : MAMBA_SIXTEEN(0),                                                                                            \
          MAMBA_SIXTEEN(16),                                                                                           \
          MAMBA_SIXTEEN(32),                                                                                           \
          MAMBA_SIXTEEN(48)                                                                                            \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));                                                 \
}

MAMBA_WGMMA_OF(bf16, "bf16")
MAMBA_WGMMA_OF(fp16, "f16")

#undef MAMBA_WGMMA_OF
#undef MAMBA_FOUR
#undef MAMBA_SIXTEEN
// clang-format on

}  // namespace mamba

#elif !defined(__CUDA_ARCH__)

namespace mamba {

__device__ __forceinline__ unsigned long long matrix_descriptor(const void* row) { return reinterpret_cast<unsigned long long>(row) / 16; }

// The distance in bytes lies in the upper bits, which an address leaves free.
__device__ __forceinline__ unsigned long long row_descriptor(const void* row, int bytes)
{
    return matrix_descriptor(row) | (static_cast<unsigned long long>(bytes / 16) << 48);
}

template <int kMatrices>
__device__ __forceinline__ void wgmma_done(float (&)[kMatrices][4])
{
}

__device__ __forceinline__ void wgmma_fence() {}

__device__ __forceinline__ void wgmma_commit() {}

template <int kPending>
__device__ __forceinline__ void wgmma_wait()
{
}

__device__ __forceinline__ void async_proxy_fence() {}

template <typename T>
__device__ inline float element_of(unsigned long long descriptor, int row, int column)
{
    // Pieces are counted from the start of the row of 128 bytes, eight to a row.
    unsigned long long piece = (descriptor + column / 8) % 8 ^ row % 8;
    return to_float(reinterpret_cast<const T*>((descriptor / 8 * 8 + piece) * 16 + row * 128ull)[column % 8]);
}

template <typename T, int kMatrices>
__device__ inline void wgmma(float (&d)[kMatrices][4], unsigned long long a, unsigned long long b, bool accumulate)
{
    int thread = static_cast<int>(threadIdx.x) % 128;
    for (int i = 0; i < kMatrices * 4; ++i) {
        int row = thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8;
        int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
        float sum = accumulate ? d[i / 4][i % 4] : 0;
        for (int k = 0; k < 16; ++k) {
            sum += element_of<T>(a, row, k) * element_of<T>(b, column, k);
        }
        d[i / 4][i % 4] = sum;
    }
}

template <typename T, int kMatrices>
__device__ inline void wgmma_rows(float (&d)[kMatrices][4], const unsigned int (&a)[4], unsigned long long b)
{
    int lane = static_cast<int>(threadIdx.x) % 32;
    unsigned long long first = (b & 0xffffffffffffull) * 16;
    unsigned long long distance = (b >> 48) * 16;
    for (int k = 0; k < 16; ++k) {
        float left[2];
        for (int half = 0; half < 2; ++half) {
            unsigned int word = __shfl_sync(0xffffffffu, a[k / 8 * 2 + half], lane / 4 * 4 + k % 8 / 2);
            left[half] = to_float(T{static_cast<unsigned short>(k % 2 == 0 ? word : word >> 16)});
        }
        for (int i = 0; i < kMatrices * 4; ++i) {
            int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
            unsigned long long piece = column % 64 / 8 ^ k % 8;
            unsigned long long row = first + column / 64 * distance + k * 128ull;
            d[i / 4][i % 4] += left[i % 4 / 2] * to_float(reinterpret_cast<const T*>(row + piece * 16)[column % 8]);
        }
    }
}

}  // namespace mamba

#endif
