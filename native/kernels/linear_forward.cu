// linear_forward.cu: a linear layer over many rows, in tiles.
//
//   y[r, o] = bias[o] + sum_i x[r, i] * weight[o, i]        x (rows, inputs)   weight (outputs, inputs)   y (rows, outputs)
//
// or that added to what y holds: the gradients of a layer are such products too (see linear_backward.cu).
//
// Four ways, one result each up to rounding; each adds the products of one y in the order of i, so that without splits a row's result does
// not depend on which other rows there are, nor on the size of the tile:
//   linear_forward         tensor cores by mma.sync: x and weight of one 16-bit type
//   linear_forward_wgmma   tensor cores by wgmma: the same on Hopper (sm_90a), where mma.sync reaches half of the rate
//   linear_forward_rows    the same for so few rows that reading the weight decides
//   linear_forward_simt    float arithmetic: any types
//
// The first three stage tiles of 64 inputs in a ring of shared memory by cp.async; a row of a tile is 128 bytes, its 16-byte pieces at
// piece ^ (row % 8), so that the eight rows of a matrix lie in different banks and stores and loads have no conflicts. Blocks stay and take
// tile after tile; the ring runs on into the next tile while the last one is stored. Tiles are taken in bands of `band` rows of tiles, so
// that those under way at one time share their operands in the L2.
//
// Where there are too few tiles for the card, `splits` blocks share the inputs of a tile. Each leaves its sums in `partial`; the last to
// arrive adds them in the order of the splits, whoever that is, so that the result repeats. `arrived` is zero before and after.
//
// In linear_forward_rows a block has one tile, whose splits are the blocks of a cluster: each adds up some of the tile's outputs, which the
// others leave in its shared memory. The first stages of the weight are on their way while the kernel before still runs.
#include "mamba/async_copy.cuh"
#include "mamba/cluster.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/mma.cuh"
#include "mamba/types.cuh"
#include "mamba/vectors.cuh"
#include "mamba/wgmma.cuh"

namespace mamba {

struct LinearForwardParams {
    const void* x;
    const void* weight;
    const float* bias;  // or none
    void* y;
    float* partial;         // tiles x splits x sums of a tile, where splits > 1
    unsigned int* arrived;  // one a tile, where splits > 1
    long long rows;
    long long x_stride;  // strides in elements
    long long weight_stride;
    long long y_stride;
    int inputs;
    int outputs;
    int splits;  // at most the steps of a tile, and 1 where there are no inputs
    int band;
    int accumulate;  // whether y is added to
};

// A tile of y, and the part of the inputs that one block sums for it.
struct LinearTile {
    int index;
    int split;
    long long row;
    int output;
    int step;  // of kTileInputs inputs
    int end;
};

template <int kTileRows, int kTileOutputs, int kTileInputs>
struct LinearTiling {
    int row_tiles;
    int output_tiles;
    int work;  // tiles x splits

    __device__ explicit LinearTiling(const LinearForwardParams& p)
        : row_tiles(static_cast<int>((p.rows + kTileRows - 1) / kTileRows)),
          output_tiles((p.outputs + kTileOutputs - 1) / kTileOutputs),
          work(row_tiles * output_tiles * p.splits)
    {
    }

    __device__ LinearTile at(const LinearForwardParams& p, int number) const
    {
        LinearTile tile;
        tile.index = number / p.splits;
        tile.split = number - tile.index * p.splits;
        int band_tiles = p.band * output_tiles;
        int first = tile.index / band_tiles * p.band;
        int height = min(p.band, row_tiles - first);
        int within = tile.index % band_tiles;
        tile.row = static_cast<long long>(first + within % height) * kTileRows;
        tile.output = within / height * kTileOutputs;
        int steps = (p.inputs + kTileInputs - 1) / kTileInputs;
        tile.step = static_cast<int>(static_cast<long long>(steps) * tile.split / p.splits);
        tile.end = static_cast<int>(static_cast<long long>(steps) * (tile.split + 1) / p.splits);
        return tile;
    }
};

// Whether this block is to store the tile; then the sums are those of all splits.
template <int kThreads, int kA, int kB, int kC>
__device__ __forceinline__ bool combine_splits(const LinearForwardParams& p, const LinearTile& tile, float (&sums)[kA][kB][kC])
{
    if (p.splits == 1) {
        return true;
    }
    __shared__ unsigned int is_last;
    constexpr int kSums = kA * kB * kC * kThreads;
    float* partial = p.partial + static_cast<long long>(tile.index) * p.splits * kSums + threadIdx.x;
    float* mine = partial + static_cast<long long>(tile.split) * kSums;
#pragma unroll
    for (int i = 0; i < kA * kB * kC; ++i) {
        mine[i * kThreads] = sums[i / (kB * kC)][i / kC % kB][i % kC];
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        is_last = atomicAdd(p.arrived + tile.index, 1u) + 1 == static_cast<unsigned int>(p.splits);
        if (is_last) {
            p.arrived[tile.index] = 0;
        }
    }
    __syncthreads();
    if (!is_last) {
        return false;
    }
    __threadfence();
#pragma unroll
    for (int i = 0; i < kA * kB * kC; ++i) {
        sums[i / (kB * kC)][i / kC % kB][i % kC] = 0;
    }
    for (int split = 0; split < p.splits; ++split, partial += kSums) {
#pragma unroll
        for (int i = 0; i < kA * kB * kC; ++i) {
            sums[i / (kB * kC)][i / kC % kB][i % kC] += partial[i * kThreads];
        }
    }
    return true;
}

__device__ __forceinline__ void store_pair(float* y, float first, float second)
{
    *reinterpret_cast<float2*>(y) = make_float2(first, second);
}

template <typename T>
__device__ __forceinline__ void store_pair(T* y, float first, float second)
{
    *reinterpret_cast<unsigned int*>(y) = narrow_pair<T>(first, second);
}

// Stores sums in the layout of mma.cuh: sums[i][j] is the lane's part of the 16 x 8 matrix i down and j to the right.
// row and output are those of the warp's first sum.
template <typename TY, int kDown, int kRight>
__device__ __forceinline__ void store_sums(const LinearForwardParams& p, float (&sums)[kDown][kRight][4], long long row, int output)
{
    int lane = static_cast<int>(threadIdx.x) % 32;
    row += lane / 4;
    int first = output + lane % 4 * 2;
    if (p.bias != nullptr) {
#pragma unroll
        for (int j = 0; j < kRight; ++j) {
            float left = first + 8 * j < p.outputs ? p.bias[first + 8 * j] : 0;
            float right = first + 8 * j + 1 < p.outputs ? p.bias[first + 8 * j + 1] : 0;
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
                sums[i][j][0] += left;
                sums[i][j][1] += right;
                sums[i][j][2] += left;
                sums[i][j][3] += right;
            }
        }
    }
    TY* y = static_cast<TY*>(p.y) + row * p.y_stride;
    unsigned long long places = reinterpret_cast<unsigned long long>(p.y) | static_cast<unsigned long long>(p.y_stride) * sizeof(TY);
    if constexpr (sizeof(TY) == 2) {
        if (kRight % 4 == 0 && places % 16 == 0 && output + kRight * 8 <= p.outputs && p.accumulate == 0) {
            // 16 bytes a lane, 64 neighbouring bytes of a row in four lanes: whole sectors.
#pragma unroll
            for (int j = 0; j < kRight / 4 * 4; j += 4) {
#pragma unroll
                for (int i = 0; i < 2 * kDown; ++i) {
                    unsigned int words[4];
#pragma unroll
                    for (int k = 0; k < 4; ++k) {
                        words[k] = narrow_pair<TY>(sums[i / 2][j + k][i % 2 * 2], sums[i / 2][j + k][i % 2 * 2 + 1]);
                    }
                    transpose_words(words);
                    if (row + 8 * i < p.rows) {
                        uint4 all = make_uint4(words[0], words[1], words[2], words[3]);
                        *reinterpret_cast<uint4*>(y + 8 * i * p.y_stride + output + (j + lane % 4) * 8) = all;
                    }
                }
            }
            return;
        }
    }
    bool paired = places % (2 * sizeof(TY)) == 0;
#pragma unroll
    for (int j = 0; j < kRight; ++j) {
        int at = first + 8 * j;
#pragma unroll
        for (int i = 0; i < 2 * kDown; ++i) {
            if (row + 8 * i < p.rows) {
                TY* to = y + 8 * i * p.y_stride + at;
                float left = sums[i / 2][j][i % 2 * 2];
                float right = sums[i / 2][j][i % 2 * 2 + 1];
                if (p.accumulate != 0) {
                    left += at < p.outputs ? to_float(to[0]) : 0;
                    right += at + 1 < p.outputs ? to_float(to[1]) : 0;
                }
                if (paired && at + 1 < p.outputs) {
                    store_pair(to, left, right);
                } else {
                    if (at < p.outputs) {
                        to[0] = from_float<TY>(left);
                    }
                    if (at + 1 < p.outputs) {
                        to[1] = from_float<TY>(right);
                    }
                }
            }
        }
    }
}

constexpr int kStagedInputs = 64;

// Brings kRows rows of 64 elements, from row `first` and element `input` of the matrix on; what is outside it is zero.
template <typename T, int kRows, int kThreads, bool kAligned>
__device__ __forceinline__ void stage_rows(
    char* shared, const void* matrix, long long stride, long long first, long long rows, int input, int inputs)
{
    static_assert(kRows * 8 % kThreads == 0, "every thread brings as many pieces");
    int thread = static_cast<int>(threadIdx.x);
    int row = thread / 8;
    input += thread % 8 * 8;
    int elements = min(8, inputs - input);
    const T* from = static_cast<const T*>(matrix) + (first + row) * stride + input;
    int left = static_cast<int>(min(static_cast<long long>(kRows), rows - first)) - row;
    char* to = shared + row * 128 + ((thread ^ row) % 8) * 16;
#pragma unroll
    for (int i = 0; i < kRows * 8 / kThreads; ++i) {
        bool inside = i * (kThreads / 8) < left && elements > 0;
        if (kAligned) {
            async_copy_16(to, inside ? from : matrix, inside ? elements * 2 : 0);
        } else {
            unsigned int words[4] = {0, 0, 0, 0};
#pragma unroll
            for (int element = 0; element < 8; ++element) {
                if (inside && element < elements) {
                    words[element / 2] |= static_cast<unsigned int>(from[element].bits) << (element % 2 * 16);
                }
            }
            *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
        }
        from += (kThreads / 8) * stride;
        to += kThreads / 8 * 128;
    }
}

// The ring of staged tiles: which comes next, over all the work of this block.
template <typename T, int kTileRows, int kTileOutputs, int kThreads, bool kAligned>
struct LinearStages {
    static constexpr int kBytes = (kTileRows + kTileOutputs) * 128;
    using Tiling = LinearTiling<kTileRows, kTileOutputs, kStagedInputs>;

    Tiling tiling;
    int number;
    LinearTile tile;

    __device__ explicit LinearStages(const LinearForwardParams& p) : tiling(p), number(static_cast<int>(blockIdx.x)), tile()
    {
        if (number < tiling.work) {
            tile = tiling.at(p, number);
        }
    }

    // Starts bringing the next stage, or nothing after the last; one group either way.
    __device__ __forceinline__ void bring(const LinearForwardParams& p, char* stage)
    {
        if (number < tiling.work) {
            int input = tile.step * kStagedInputs;
            stage_rows<T, kTileRows, kThreads, kAligned>(stage, p.x, p.x_stride, tile.row, p.rows, input, p.inputs);
            stage_rows<T, kTileOutputs, kThreads, kAligned>(
                stage + kTileRows * 128, p.weight, p.weight_stride, tile.output, p.outputs, input, p.inputs);
            if (++tile.step >= tile.end) {
                number += static_cast<int>(gridDim.x);
                if (number < tiling.work) {
                    tile = tiling.at(p, number);
                }
            }
        }
        async_commit();
    }
};

// Tensor cores by mma.sync. A warp sums kWarpRows x kWarpOutputs of the tile, and loads the matrices of the next 16 inputs while it
// multiplies those of the last.
template <typename T, typename TY, int kTileRows, int kTileOutputs, int kWarpRows, int kWarpOutputs, int kStages, bool kAligned>
__global__ void __launch_bounds__(32 * (kTileRows / kWarpRows) * (kTileOutputs / kWarpOutputs))
    linear_forward(const __grid_constant__ LinearForwardParams p)
{
    constexpr int kWarpsAcross = kTileOutputs / kWarpOutputs;
    constexpr int kThreads = 32 * (kTileRows / kWarpRows) * kWarpsAcross;
    constexpr int kDown = kWarpRows / 16;
    constexpr int kRight = kWarpOutputs / 8;
    using Stages = LinearStages<T, kTileRows, kTileOutputs, kThreads, kAligned>;

    extern __shared__ __align__(1024) char shared[];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp = static_cast<int>(threadIdx.x) / 32;
    int warp_row = warp / kWarpsAcross * kWarpRows;
    int warp_output = warp % kWarpsAcross * kWarpOutputs;

    // Where this lane's rows of the matrices lie in a stage; 16 inputs on, the piece differs in bits that no carry reaches.
    int x_place = (warp_row + lane % 16) * 128 + ((lane / 16) ^ (lane % 8)) * 16;
    int weight_place = (kTileRows + warp_output + lane % 8 + lane / 16 * 8) * 128 + ((lane / 8 % 2) ^ (lane % 8)) * 16;

    Stages stages(p);
    for (int i = 0; i < kStages - 1; ++i) {
        stages.bring(p, shared + i * Stages::kBytes);
    }
    int slot = 0;
    for (int number = static_cast<int>(blockIdx.x); number < stages.tiling.work; number += static_cast<int>(gridDim.x)) {
        LinearTile tile = stages.tiling.at(p, number);
        float sums[kDown][kRight][4] = {};
        for (; tile.step < tile.end; ++tile.step) {
            async_wait<kStages - 2>();
            __syncthreads();
            const char* stage = shared + slot * Stages::kBytes;
            unsigned int x[2][kDown][4];
            unsigned int weight[2][kRight][2];
            auto load = [&](int part) {
#pragma unroll
                for (int i = 0; i < kDown; ++i) {
                    load_matrices(x[part % 2][i], stage + (x_place ^ (part * 32)) + i * 16 * 128);
                }
#pragma unroll
                for (int j = 0; j < kRight; j += 2) {
                    unsigned int both[4];
                    load_matrices(both, stage + (weight_place ^ (part * 32)) + j * 8 * 128);
                    weight[part % 2][j][0] = both[0];
                    weight[part % 2][j][1] = both[1];
                    weight[part % 2][j + 1][0] = both[2];
                    weight[part % 2][j + 1][1] = both[3];
                }
            };
            load(0);
            stages.bring(p, shared + (slot == 0 ? kStages - 1 : slot - 1) * Stages::kBytes);
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                if (part < 3) {
                    load(part + 1);
                }
#pragma unroll
                for (int i = 0; i < kDown; ++i) {
#pragma unroll
                    for (int j = 0; j < kRight; ++j) {
                        multiply_accumulate<T>(sums[i][j], x[part % 2][i], weight[part % 2][j]);
                    }
                }
            }
            slot = slot == kStages - 1 ? 0 : slot + 1;
        }
        if (combine_splits<kThreads>(p, tile, sums)) {
            store_sums<TY>(p, sums, tile.row + warp_row, tile.output + warp_output);
        }
    }
    async_wait<0>();
}

#if defined(MAMBA_HAS_WGMMA)
// Tensor cores by wgmma: two groups of four warps, 64 rows each. One product is always under way: a step is started before the one before
// it is waited for, and the stage that is filled anew is that of the step before both.
template <typename T, typename TY, int kTileOutputs, int kStages>
__global__ void __launch_bounds__(256, 1) linear_forward_wgmma(const __grid_constant__ LinearForwardParams p)
{
    constexpr int kTileRows = 128;
    using Stages = LinearStages<T, kTileRows, kTileOutputs, 256, true>;

    extern __shared__ __align__(1024) char shared[];
    int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
    int group_row = static_cast<int>(threadIdx.x) / 128 * 64;

    Stages stages(p);
    for (int i = 0; i < kStages - 2; ++i) {
        stages.bring(p, shared + i * Stages::kBytes);
    }
    int slot = 0;
    for (int number = static_cast<int>(blockIdx.x); number < stages.tiling.work; number += static_cast<int>(gridDim.x)) {
        LinearTile tile = stages.tiling.at(p, number);
        float sums[1][kTileOutputs / 8][4];
        for (int step = tile.step; step < tile.end; ++step) {
            async_wait<kStages - 3>();
            async_proxy_fence();
            __syncthreads();
            const char* stage = shared + slot * Stages::kBytes;
            unsigned long long x = matrix_descriptor(stage + group_row * 128);
            unsigned long long weight = matrix_descriptor(stage + kTileRows * 128);
            wgmma_fence();
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                wgmma<T>(sums[0], x + 2 * part, weight + 2 * part, part > 0 || step > tile.step);
            }
            wgmma_commit();
            wgmma_wait<1>();
            int next = slot + kStages - 2;
            stages.bring(p, shared + (next >= kStages ? next - kStages : next) * Stages::kBytes);
            slot = slot == kStages - 1 ? 0 : slot + 1;
        }
        wgmma_wait<0>();
        if (combine_splits<256>(p, tile, sums)) {
            store_sums<TY>(p, sums, tile.row + warp_row, tile.output);
        }
    }
    async_wait<0>();
}

// Tensor cores by wgmma where there are few rows: groups of four warps, 64 rows each. Blocks along x are the splits of a tile, then the next
// outputs; along y the rows.
template <typename T, typename TY, int kTileRows, int kTileOutputs, int kStages>
__global__ void __launch_bounds__(2 * kTileRows) linear_forward_rows(const __grid_constant__ LinearForwardParams p)
{
    constexpr int kThreads = 2 * kTileRows;
    constexpr int kStageBytes = (kTileRows + kTileOutputs) * 128;
    constexpr int kAhead = kStages - 2;
    constexpr int kColumns = kTileOutputs / 8;

    extern __shared__ __align__(1024) char shared[];
    int thread = static_cast<int>(threadIdx.x);
    int split = static_cast<int>(blockIdx.x) % p.splits;
    int output = static_cast<int>(blockIdx.x) / p.splits * kTileOutputs;
    long long row = static_cast<long long>(blockIdx.y) * kTileRows;
    int group_row = thread / 128 * 64;
    int steps = (p.inputs + kStagedInputs - 1) / kStagedInputs;
    int first = steps * split / p.splits;
    int end = steps * (split + 1) / p.splits;

    auto bring_x = [&](int step) {
        if (step < end) {
            stage_rows<T, kTileRows, kThreads, true>(
                shared + (step - first) % kStages * kStageBytes, p.x, p.x_stride, row, p.rows, step * kStagedInputs, p.inputs);
        }
    };
    auto bring_weight = [&](int step) {
        if (step < end) {
            stage_rows<T, kTileOutputs, kThreads, true>(shared + (step - first) % kStages * kStageBytes + kTileRows * 128, p.weight,
                p.weight_stride, output, p.outputs, step * kStagedInputs, p.inputs);
        }
    };
    // The launch overlaps only where the kernel before this one does not write the weight.
    for (int i = 0; i < kAhead; ++i) {
        bring_weight(first + i);
    }
    async_commit();
#ifdef EARLY_LINEAR
    let_next_grid_start();
#endif
    wait_for_earlier_grids();
    let_next_grid_start();
    for (int i = 0; i < kAhead; ++i) {
        bring_x(first + i);
        async_commit();
    }

    float sums[1][kColumns][4];
    for (int step = first; step < end; ++step) {
        async_wait<kAhead - 1>();
        async_proxy_fence();
        __syncthreads();
        const char* stage = shared + (step - first) % kStages * kStageBytes;
        unsigned long long x = matrix_descriptor(stage + group_row * 128);
        unsigned long long weight = matrix_descriptor(stage + kTileRows * 128);
        wgmma_fence();
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            wgmma<T>(sums[0], x + 2 * part, weight + 2 * part, part > 0 || step > first);
        }
        wgmma_commit();
        wgmma_wait<1>();
        bring_x(step + kAhead);
        bring_weight(step + kAhead);
        async_commit();
    }
    wgmma_wait<0>();
    wgmma_done(sums[0]);
    async_wait<0>();
    row += thread / 32 * 16;
    if (p.splits == 1) {
        store_sums<TY>(p, sums, row, output);
        return;
    }

    // What others leave here lies where the stages were: (splits, own columns, threads).
    int own = (kColumns + p.splits - 1) / p.splits;
    float4* received = reinterpret_cast<float4*>(shared);
    __syncthreads();
    cluster_arrive();
    cluster_wait();
    int owner = 0;
    int within = 0;
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
        store_in_block(received + (split * own + within) * kThreads + thread, owner,
            make_float4(sums[0][column][0], sums[0][column][1], sums[0][column][2], sums[0][column][3]));
        if (++within == own) {
            within = 0;
            ++owner;
        }
    }
    cluster_arrive();
    cluster_wait();
    for (int column = split * own; column < min((split + 1) * own, kColumns); ++column) {
        float sum[1][1][4] = {};
        for (int from = 0; from < p.splits; ++from) {
            float4 other = received[(from * own + column - split * own) * kThreads + thread];
            sum[0][0][0] += other.x;
            sum[0][0][1] += other.y;
            sum[0][0][2] += other.z;
            sum[0][0][3] += other.w;
        }
        store_sums<TY>(p, sum, row, output + column * 8);
    }
}
#endif

// Four elements from `left` that there are on, as float; the rest is zero.
template <typename T>
__device__ __forceinline__ void load_four(float (&values)[4], const T* from, int left, bool aligned)
{
    if (aligned && left >= 4) {
        struct __align__(4 * sizeof(T)) Four {
            T element[4];
        };
        Four four = *reinterpret_cast<const Four*>(from);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            values[i] = to_float(four.element[i]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            values[i] = i < left ? to_float(from[i]) : 0;
        }
    }
}

// Whether load_four may access four elements of any row at once.
template <typename T>
__device__ __forceinline__ bool rows_are_aligned(const void* matrix, long long stride)
{
    return (reinterpret_cast<unsigned long long>(matrix) | (static_cast<unsigned long long>(stride) * sizeof(T))) % (4 * sizeof(T)) == 0;
}

// Float arithmetic: 16 x 16 threads, each with a square of sums in groups of four by four; 16 inputs at a time, the next in registers.
template <typename TX, typename TWeight, typename TY, int kTile>
__global__ void __launch_bounds__(256) linear_forward_simt(const __grid_constant__ LinearForwardParams p)
{
    constexpr int kInputs = 16;
    constexpr int kPitch = kTile + 4;
    constexpr int kPieces = kTile / 64;
    constexpr int kSide = kTile / 16;
    using Tiling = LinearTiling<kTile, kTile, kInputs>;

    __shared__ __align__(16) float x_stage[2][kInputs][kPitch];
    __shared__ __align__(16) float weight_stage[2][kInputs][kPitch];
    int thread = static_cast<int>(threadIdx.x);
    int down = thread / 16 * 4;
    int right = thread % 16 * 4;
    int staged_row = thread / 4;
    int staged_input = thread % 4 * 4;
    bool x_aligned = rows_are_aligned<TX>(p.x, p.x_stride);
    bool weight_aligned = rows_are_aligned<TWeight>(p.weight, p.weight_stride);

    Tiling tiling(p);
    for (int number = static_cast<int>(blockIdx.x); number < tiling.work; number += static_cast<int>(gridDim.x)) {
        LinearTile tile = tiling.at(p, number);
        float sums[kSide][kSide / 4][4] = {};
        float x_next[kPieces][4];
        float weight_next[kPieces][4];
        auto fetch = [&](int step) {
            int input = step * kInputs + staged_input;
#pragma unroll
            for (int i = 0; i < kPieces; ++i) {
                long long row = tile.row + staged_row + i * 64;
                int output = tile.output + staged_row + i * 64;
                const TX* x = static_cast<const TX*>(p.x) + row * p.x_stride + input;
                const TWeight* weight = static_cast<const TWeight*>(p.weight) + output * p.weight_stride + input;
                load_four(x_next[i], x, row < p.rows ? p.inputs - input : 0, x_aligned);
                load_four(weight_next[i], weight, output < p.outputs ? p.inputs - input : 0, weight_aligned);
            }
        };
        auto leave = [&](int slot) {
#pragma unroll
            for (int i = 0; i < kPieces; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    x_stage[slot][staged_input + j][staged_row + i * 64] = x_next[i][j];
                    weight_stage[slot][staged_input + j][staged_row + i * 64] = weight_next[i][j];
                }
            }
        };
        if (tile.step < tile.end) {
            fetch(tile.step);
            leave(tile.step % 2);
        }
        __syncthreads();
        for (int step = tile.step; step < tile.end; ++step) {
            if (step + 1 < tile.end) {
                fetch(step + 1);
            }
#pragma unroll
            for (int input = 0; input < kInputs; ++input) {
                float x[kSide];
                float weight[kSide];
#pragma unroll
                for (int i = 0; i < kSide / 4; ++i) {
                    const float* x_from = &x_stage[step % 2][input][down + 64 * i];
                    const float* weight_from = &weight_stage[step % 2][input][right + 64 * i];
                    *reinterpret_cast<float4*>(x + 4 * i) = *reinterpret_cast<const float4*>(x_from);
                    *reinterpret_cast<float4*>(weight + 4 * i) = *reinterpret_cast<const float4*>(weight_from);
                }
#pragma unroll
                for (int i = 0; i < kSide; ++i) {
#pragma unroll
                    for (int j = 0; j < kSide; ++j) {
                        sums[i][j / 4][j % 4] += x[i] * weight[j];
                    }
                }
            }
            if (step + 1 < tile.end) {
                leave((step + 1) % 2);
            }
            __syncthreads();
        }
        if (combine_splits<256>(p, tile, sums)) {
#pragma unroll
            for (int i = 0; i < kSide; ++i) {
                long long row = tile.row + down + i % 4 + i / 4 * 64;
#pragma unroll
                for (int j = 0; j < kSide; ++j) {
                    int output = tile.output + right + j % 4 + j / 4 * 64;
                    if (row < p.rows && output < p.outputs) {
                        TY* y = static_cast<TY*>(p.y) + row * p.y_stride + output;
                        float other = p.bias != nullptr ? p.bias[output] : 0;
                        other += p.accumulate != 0 ? to_float(*y) : 0;
                        *y = from_float<TY>(sums[i][j / 4][j % 4] + other);
                    }
                }
            }
        }
    }
}

}  // namespace mamba
