// vector_types.h: CUDA's short vectors, their sizes and alignments (CUDA C++ Programming Guide, built-in vector types).
//
// The alignment is what makes a wide load legal on the device; the shim's misalignment check goes by it.
#pragma once

struct dim3 {
    unsigned int x, y, z;

    constexpr dim3(unsigned int vx = 1, unsigned int vy = 1, unsigned int vz = 1) : x(vx), y(vy), z(vz) {}
};

#define MAMBA_HOST_VECTORS(name, T, alignment2, alignment4)                                                                   \
    struct name##1 {                                                                                                          \
        T x;                                                                                                                  \
    };                                                                                                                        \
    struct alignas(alignment2) name##2 {                                                                                      \
        T x, y;                                                                                                               \
    };                                                                                                                        \
    struct name##3 {                                                                                                          \
        T x, y, z;                                                                                                            \
    };                                                                                                                        \
    struct alignas(alignment4) name##4 {                                                                                      \
        T x, y, z, w;                                                                                                         \
    };                                                                                                                        \
    inline name##1 make_##name##1(T x)                                                                                        \
    {                                                                                                                         \
        return {x};                                                                                                           \
    }                                                                                                                         \
    inline name##2 make_##name##2(T x, T y)                                                                                   \
    {                                                                                                                         \
        return {x, y};                                                                                                        \
    }                                                                                                                         \
    inline name##3 make_##name##3(T x, T y, T z)                                                                              \
    {                                                                                                                         \
        return {x, y, z};                                                                                                     \
    }                                                                                                                         \
    inline name##4 make_##name##4(T x, T y, T z, T w)                                                                         \
    {                                                                                                                         \
        return {x, y, z, w};                                                                                                  \
    }

MAMBA_HOST_VECTORS(char, signed char, 2, 4)
MAMBA_HOST_VECTORS(uchar, unsigned char, 2, 4)
MAMBA_HOST_VECTORS(short, short, 4, 8)
MAMBA_HOST_VECTORS(ushort, unsigned short, 4, 8)
MAMBA_HOST_VECTORS(int, int, 8, 16)
MAMBA_HOST_VECTORS(uint, unsigned int, 8, 16)
MAMBA_HOST_VECTORS(long, long, 16, 16)
MAMBA_HOST_VECTORS(ulong, unsigned long, 16, 16)
MAMBA_HOST_VECTORS(longlong, long long, 16, 16)
MAMBA_HOST_VECTORS(ulonglong, unsigned long long, 16, 16)
MAMBA_HOST_VECTORS(float, float, 8, 16)
MAMBA_HOST_VECTORS(double, double, 16, 16)

#undef MAMBA_HOST_VECTORS
