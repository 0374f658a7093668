// quantized.cuh: weights that are whole numbers, with a scale for each group of neighbours in a row; a weight is its number times its scale.
//
// Numbers have 8 or 4 bits (kBits). A row is filled up with zeros to whole 64 bytes, and starts at a multiple of 16:
//   8 bits   two's complement, in order
//   4 bits   each number plus 8; eight neighbours in a word, the first at bit 0, the next at bit 16, then 4, 20, 8, 24, 12, 28
// Scales are bf16, (rows, groups). A group has 32, 64 or 128 weights, 64 or more with 8 bits: the 64 bytes that four neighbouring lanes read
// are 64 numbers of 8 bits, of one group, or 128 of 4 bits, where each lane's are of one group. What a row is filled up with has the scale
// of its last group.
//
//   WeightMatrix           where all of that lies, or where floats do; part of a kernel's parameters
//   Quantized<kBits>       names such weights where a kernel takes the type of floats too
//   QuantizedRow           one row
//   QuantizedPiece<kBits>  16 bytes of a row in registers, and their scale: for loads in flight
//   load_quantized         the piece from a column on
//   load_inputs            eight elements of x that such a piece is multiplied with
//   widen_numbers          eight numbers of a piece, or of words, as floats, without the scale
//   number_pairs<T>        the numbers of a word as pairs of bf16 or fp16, exact: two neighbours in a word, as tensor cores take them
//   halves_as_bytes        numbers of 4 bits of two rows as a left matrix of bytes (mma.cuh), times 16
//   fixed_bytes            four floats as fixed-point numbers of 16 bits, upper and lower bytes, as right matrices of bytes
//   fixed_unit             what one of these is
//
// Conversions add the bits of a number to those of a power of two, whose last place is one, and take the power away; a conversion by the
// instruction for it has a quarter of the rate of an addition.
#pragma once

#include "mamba/fast_math.cuh"
#include "mamba/mma.cuh"
#include "mamba/types.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

template <int kBits>
struct Quantized;

struct WeightMatrix {
    const unsigned char* values;
    const bf16* scales;      // or null: values are floats
    long long row_bytes;     // from a row to the next
    long long scale_stride;  // the same of scales, in elements
    int columns;
    int group_shift;  // a group has 2^group_shift weights
};

struct QuantizedRow {
    const unsigned char* values;
    const bf16* scales;
    int last_column;
    int group_shift;

    __device__ __forceinline__ QuantizedRow(const WeightMatrix& weight, long long row)
        : values(weight.values + row * weight.row_bytes),
          scales(weight.scales + row * weight.scale_stride),
          last_column(weight.columns - 1),
          group_shift(weight.group_shift)
    {
    }
};

template <int kBits>
struct QuantizedPiece {
    static_assert(kBits == 8 || kBits == 4, "numbers have 8 or 4 bits");
    static constexpr int kWeights = 128 / kBits;

    Piece<16> numbers;
    bf16 scale;
};

// The piece from a column on: a multiple of kWeights, before the end of what the row is filled up with.
template <int kBits>
__device__ __forceinline__ void load_quantized(const QuantizedRow& row, int column, QuantizedPiece<kBits>& to)
{
    load_piece<Access::read_once>(row.values + column / (8 / kBits), to.numbers);
    to.scale = row.scales[min(column, row.last_column) >> row.group_shift];
}

// Elements `column` to `column + 7` of a row of x, which has a multiple of 8. Behind the end the last ones again: they meet the zeros that
// the weights are filled up with, and no branch stands between this load and the others.
template <typename T>
__device__ __forceinline__ void load_inputs(const T* x, int columns, int column, Stored<T, 8>& to)
{
    load(x + min(column, columns - 8), to);
}

// Eight numbers, which lie in kBits / 4 words.
template <int kBits>
__device__ __forceinline__ void widen_numbers(const unsigned int* words, float (&to)[8])
{
#pragma unroll
    for (int j = 0; j < 8; ++j) {
        if constexpr (kBits == 8) {
            unsigned int word = words[j / 4] ^ 0x80808080u;
            to[j] = __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440u | static_cast<unsigned int>(j % 4))) - (8388608.0f + 128.0f);
        } else {
            unsigned int number = (words[0] >> (j / 2 * 4 + j % 2 * 16)) & 0xfu;
            to[j] = __uint_as_float(number | 0x4b000000u) - (8388608.0f + 8.0f);
        }
    }
}

// Numbers 8 i to 8 i + 7 of a piece.
template <int kBits>
__device__ __forceinline__ void widen_numbers(const QuantizedPiece<kBits>& piece, int i, float (&to)[8])
{
    widen_numbers<kBits>(piece.numbers.words + i * (kBits / 4), to);
}

// The sums of two pairs.
template <typename T>
__device__ __forceinline__ unsigned int add_pairs(unsigned int a, unsigned int b)
{
    return narrow_pair<T>(lower<T>(a) + lower<T>(b), upper<T>(a) + upper<T>(b));
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <>
__device__ __forceinline__ unsigned int add_pairs<bf16>(unsigned int a, unsigned int b)
{
    // There is an addition of its own only from sm_90 on; times one is the same.
    unsigned int result;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(0x3f803f80u), "r"(b));
    return result;
}
#endif

#if defined(__CUDA_ARCH__)
template <>
__device__ __forceinline__ unsigned int add_pairs<fp16>(unsigned int a, unsigned int b)
{
    unsigned int result;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    return result;
}
#endif

// The products of two pairs.
template <typename T>
__device__ __forceinline__ unsigned int multiply_pairs(unsigned int a, unsigned int b)
{
    return narrow_pair<T>(lower<T>(a) * lower<T>(b), upper<T>(a) * upper<T>(b));
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <>
__device__ __forceinline__ unsigned int multiply_pairs<bf16>(unsigned int a, unsigned int b)
{
    // As above; plus negative zero is the same.
    unsigned int result;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(0x80008000u));
    return result;
}
#endif

// A power of two with room for a number beside it, in both halves of a word, and what takes it and the excess of the number away.
template <typename T>
struct NumberBase;

template <>
struct NumberBase<bf16> {
    static constexpr unsigned int kPower = 0x43004300u;           // 128
    static constexpr unsigned int kLessPowerAnd8 = 0xc308c308u;  // -136
};

template <>
struct NumberBase<fp16> {
    static constexpr unsigned int kPower = 0x64006400u;           // 1024
    static constexpr unsigned int kLessPowerAnd8 = 0xe408e408u;  // -1032
};

// Eight numbers of 4 bits.
template <typename T>
__device__ __forceinline__ void number_pairs(unsigned int word, unsigned int (&to)[4])
{
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        to[i] = add_pairs<T>(((word >> (4 * i)) & 0x000f000fu) | NumberBase<T>::kPower, NumberBase<T>::kLessPowerAnd8);
    }
}

// Four numbers of 8 bits.
template <typename T>
__device__ __forceinline__ void number_pairs(unsigned int word, unsigned int (&to)[2])
{
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        unsigned int selector = i == 0 ? 0x4140u : 0x4342u;
        if constexpr (NumberBase<T>::kPower == 0x64006400u) {
            to[i] = add_pairs<T>(__byte_perm(word ^ 0x80808080u, 0x64646464u, selector), 0xe480e480u);  // -1152
        } else {
            // Only 7 bits fit beside 128; the eighth, the sign, makes 256 of the 128 that is taken away.
            unsigned int pair = __byte_perm(word, 0, selector);
            to[i] = add_pairs<T>((pair & 0x007f007fu) | 0x43004300u, (pair & 0x00800080u) | 0xc300c300u);
        }
    }
}

// Words of a row and of the one eight below it: numbers 0, 4, 1, 5 of each, then 2, 6, 3, 7. They are the upper halves of bytes; less 8, they
// are two's complement.
__device__ __forceinline__ void halves_as_bytes(unsigned int above, unsigned int below, unsigned int (&to)[4])
{
    to[0] = (above << 4 ^ 0x80808080u) & 0xf0f0f0f0u;
    to[1] = (below << 4 ^ 0x80808080u) & 0xf0f0f0f0u;
    to[2] = (above ^ 0x80808080u) & 0xf0f0f0f0u;
    to[3] = (below ^ 0x80808080u) & 0xf0f0f0f0u;
}

constexpr float kMostFixed = 32512.0f;  // whose upper byte is 127
constexpr float kLeastFixed = 0x1p-100f;  // below, all are taken for zero

// Of numbers of which `largest` is the greatest magnitude.
__device__ __forceinline__ float fixed_unit(float largest) { return largest * (1.0f / kMostFixed); }

__device__ __forceinline__ void fixed_bytes(const float (&x)[4], float largest, unsigned int& upper_bytes, unsigned int& lower_bytes)
{
    float units = largest > kLeastFixed ? reciprocal_approx(fixed_unit(largest)) : 0.0f;
    // Beside this power of two, the lower 16 bits of a float are a whole number.
    constexpr float kPower = 12582912.0f;
    unsigned int fixed[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        fixed[i] = __float_as_uint(fmaf(x[i], units, kPower));
    }
    lower_bytes = __byte_perm(__byte_perm(fixed[0], fixed[1], 0x0040u), __byte_perm(fixed[2], fixed[3], 0x0040u), 0x5410u);
    // The lower byte has a sign, which the upper one makes up for.
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        fixed[i] += 128u;
    }
    upper_bytes = __byte_perm(__byte_perm(fixed[0], fixed[1], 0x0051u), __byte_perm(fixed[2], fixed[3], 0x0051u), 0x5410u);
}

}  // namespace mamba
