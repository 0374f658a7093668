// attention.cuh: rows of one head in shared memory, products of them by tensor cores, and which of them belong together.
//
// A tile is so many rows of kHead elements of 16 bits, one after the other; 16-byte piece i of row r lies at piece i ^ (r % 8), so that the
// eight rows of a matrix (see mma.cuh) lie in different banks. As operands of a product D += A B a lane names its row of
//   rows_of_left      a tile's rows as rows of A; or, transposed, as rows of B
//   rows_of_right     a tile's rows as columns of B
// and goes on along the rows, 16 elements a step, by `^ (step * 32)`.
#pragma once

#include "mamba/async_copy.cuh"
#include "mamba/mma.cuh"
#include "mamba/sequences.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

constexpr int kAttentionThreads = 128;
constexpr int kMaxHeadSize = 128;

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

// Scores of 16 queries (rows) and some keys (columns), as a lane has them of products (see mma.cuh): those of a key later than its query
// become minus infinity. `behind` is how many columns the lane's first row is behind its first column.
template <int kCount>
__device__ __forceinline__ void leave_out_later_keys(float (&scores)[kCount][4], int behind)
{
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            if (n * 8 + e % 2 > behind + e / 2 * 8) {
                scores[n][e] = minus_infinity();
            }
        }
    }
}

// The same of 16 keys (rows) and some queries (columns).
template <int kCount>
__device__ __forceinline__ void leave_out_earlier_queries(float (&scores)[kCount][4], int behind)
{
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            if (n * 8 + e % 2 < behind + e / 2 * 8) {
                scores[n][e] = minus_infinity();
            }
        }
    }
}

// Starts bringing kRows rows; those from `rows` on become zero and are not read.
template <int kHead, int kRows, typename T>
__device__ __forceinline__ void stage_tile(char* tile, const T* from, long long stride, int rows)
{
    constexpr int kPieces = kHead / 8;
    constexpr int kAtOnce = kAttentionThreads / kPieces;
    static_assert(kAtOnce % 8 == 0 && kRows % kAtOnce == 0, "a thread's pieces lie in one place of their rows");
    int row = static_cast<int>(threadIdx.x) / kPieces;
    int piece = static_cast<int>(threadIdx.x) % kPieces;
    const T* source = from + row * stride + piece * 8;
    char* to = tile + row * (kHead * 2) + ((piece ^ (row % 8)) * 16);
#pragma unroll
    for (int i = 0; i < kRows; i += kAtOnce) {
        bool inside = row + i < rows;
        async_copy_16(to + i * (kHead * 2), inside ? source : from, inside ? 16 : 0);
        source += kAtOnce * stride;
    }
}

// The same for a block of any size, as halves of 64 elements each: of all rows the first half, then of all the second.
template <int kHead, int kRows, int kThreads, typename T>
__device__ __forceinline__ void stage_halves(char* tile, const T* from, long long stride, int rows)
{
    constexpr int kPieces = kHead / 8;
    int row = static_cast<int>(threadIdx.x) / kPieces;
    int piece = static_cast<int>(threadIdx.x) % kPieces;
    const T* source = from + row * stride + piece * 8;
    char* to = tile + piece / 8 * (kRows * 128) + row * 128 + ((piece ^ row) % 8) * 16;
#pragma unroll
    for (int i = 0; i < kRows; i += kThreads / kPieces) {
        if (kRows % (kThreads / kPieces) == 0 || row + i < kRows) {
            bool inside = row + i < rows;
            async_copy_16(to + i * 128, inside ? source : from, inside ? 16 : 0);
        }
        source += kThreads / kPieces * stride;
    }
}

template <int kHead>
__device__ __forceinline__ int rows_of_left(int row)
{
    int lane = static_cast<int>(threadIdx.x) % 32;
    return (row + lane % 16) * (kHead * 2) + (((lane / 16) ^ (lane % 8)) * 16);
}

template <int kHead>
__device__ __forceinline__ int rows_of_right(int row)
{
    int lane = static_cast<int>(threadIdx.x) % 32;
    return (row + lane % 8 + lane / 16 * 8) * (kHead * 2) + (((lane / 8 % 2) ^ (lane % 8)) * 16);
}

// sums[i] += A B for 16 rows of A and two neighbouring matrices of B, whose words are those of one load.
template <typename T>
__device__ __forceinline__ void multiply_both(float (*sums)[4], const unsigned int (&a)[4], const unsigned int (&both)[4])
{
    unsigned int first[2] = {both[0], both[1]};
    unsigned int second[2] = {both[2], both[3]};
    multiply_accumulate<T>(sums[0], a, first);
    multiply_accumulate<T>(sums[1], a, second);
}

// Two neighbouring matrices of sums as 16 x 16 of the left operand of the next product.
template <typename T>
__device__ __forceinline__ void as_left(const float (*sums)[4], unsigned int (&a)[4])
{
    a[0] = narrow_pair<T>(sums[0][0], sums[0][1]);
    a[1] = narrow_pair<T>(sums[0][2], sums[0][3]);
    a[2] = narrow_pair<T>(sums[1][0], sums[1][1]);
    a[3] = narrow_pair<T>(sums[1][2], sums[1][3]);
}

// Stores 16 rows of sums, times a factor for rows 0 to 7 and one for the others of a lane, through the warp's own rows of a tile.
template <int kHead, typename T>
__device__ __forceinline__ void store_rows(
    char* tile, int tile_row, const float (*sums)[4], float upper_factor, float lower_factor, T* to, long long stride, int rows)
{
    constexpr int kPieces = kHead / 8;
    int lane = static_cast<int>(threadIdx.x) % 32;
    char* place = tile + (tile_row + lane / 4) * (kHead * 2) + lane % 4 * 4;
    int swizzle = lane / 4;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < kPieces; ++n) {
        int at = (n ^ swizzle) * 16;
        *reinterpret_cast<unsigned int*>(place + at) = narrow_pair<T>(sums[n][0] * upper_factor, sums[n][1] * upper_factor);
        *reinterpret_cast<unsigned int*>(place + at + 8 * (kHead * 2)) = narrow_pair<T>(sums[n][2] * lower_factor, sums[n][3] * lower_factor);
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 16 * kPieces / 32; ++i) {
        int row = (lane + i * 32) / kPieces;
        int piece = (lane + i * 32) % kPieces;
        if (row < rows) {
            const char* from = tile + (tile_row + row) * (kHead * 2) + ((piece ^ (row % 8)) * 16);
            *reinterpret_cast<uint4*>(to + row * stride + piece * 8) = *reinterpret_cast<const uint4*>(from);
        }
    }
}

// Some rows of a sequence: a block's, or a warp's.
struct AttentionRows {
    long long start;  // of the sequence
    int length;       // of it
    int first;        // step of the sequence

    __device__ __forceinline__ AttentionRows(const SequenceTable& sequences, unsigned int block, unsigned int rows)
    {
        SequenceChunk chunk(sequences, block, rows);
        start = sequences.start(chunk.sequence);
        length = static_cast<int>(sequences.end(chunk.sequence) - start);
        first = static_cast<int>(min(chunk.first, static_cast<long long>(length)));
    }
};

}  // namespace mamba
