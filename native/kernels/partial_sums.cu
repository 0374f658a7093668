// partial_sums.cu: adds up what the blocks of another kernel left, in an order that repeats.
//
//   destination[r, c] = sum over parts of partials[part][r][c], and what destination[r, c] was, where `adds` says so
//
//   for up to four destinations at once, a row of the grid for each: they are small, and a launch costs more than many of them
//
//   partials, fp32: parts `part_stride` elements apart, each (rows, columns)   destination (rows, columns), rounded once at the end
//
// One thread an element and slice of the parts, the elements numbered through all rows, so that narrow rows fill warps too. Slices lie next
// to each other in a block and meet in shared memory, in their order: few elements with many parts would else be a long chain of loads.
// Only the number of parts says how many slices there are, and with them how the sum is cut.
// Memory is the limit where there are many elements, 4 bytes a part and element; else the way to memory and back, kAhead parts at a time.
#include "mamba/grid_dependency.cuh"
#include "mamba/types.cuh"

namespace mamba {

struct PartialSum {
    const float* partials;
    void* destination;
    long long destination_stride;
    long long elements;  // rows * columns
    int columns;
};

struct PartialSumsParams {
    PartialSum first;
    PartialSum second;
    PartialSum third;
    PartialSum fourth;
    long long part_stride;
    long long partial_stride;
    int parts;
    int adds;
};

constexpr int kMostSumThreads = 1024;

// The parts [part, end) of an element. A slice is seldom a whole number of kAhead parts, so those that are not there are zeros.
template <int kAhead>
__device__ __forceinline__ float sum_of_parts(const float* partials, long long part_stride, int part, int end)
{
    float sum = 0.0f;
    for (; part < end; part += kAhead) {
        float terms[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            terms[i] = part + i < end ? partials[(part + i) * part_stride] : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            sum += terms[i];
        }
    }
    return sum;
}

// A block is (elements, slices).
template <typename T>
__global__ void __launch_bounds__(kMostSumThreads) partial_sums(const __grid_constant__ PartialSumsParams p)
{
    constexpr int kAhead = 8;
    __shared__ float sums[kMostSumThreads];
    int slice = static_cast<int>(threadIdx.y);
    int slices = static_cast<int>(blockDim.y);
    int width = static_cast<int>(blockDim.x);
    int lane = static_cast<int>(threadIdx.x);
    const PartialSum& own = blockIdx.y == 0 ? p.first : blockIdx.y == 1 ? p.second : blockIdx.y == 2 ? p.third : p.fourth;
    long long element = static_cast<long long>(blockIdx.x) * width + lane;
    bool is_there = element < own.elements;
    // Dividing 64 bits takes many times as long.
    long long row = own.elements <= 0xffffffffll ? static_cast<unsigned int>(element) / static_cast<unsigned int>(own.columns)
                                                 : element / own.columns;
    long long column = element - row * own.columns;

    wait_for_earlier_grids();
    float sum = 0.0f;
    if (is_there) {
        int length = (p.parts + slices - 1) / slices;
        int first = slice * length;
        int end = first + length < p.parts ? first + length : p.parts;
        sum = sum_of_parts<kAhead>(own.partials + row * p.partial_stride + column, p.part_stride, first, end);
    }
    let_next_grid_start();
    if (slices > 1) {
        sums[slice * width + lane] = sum;
        __syncthreads();
    }
    if (is_there && slice == 0) {
        for (int other = 1; other < slices; ++other) {
            sum += sums[other * width + lane];
        }
        T* destination = static_cast<T*>(own.destination) + row * own.destination_stride + column;
        *destination = from_float<T>(p.adds != 0 ? to_float(*destination) + sum : sum);
    }
}

}  // namespace mamba
