// partial_sums.cu: adds up what the blocks of another kernel left, in an order that repeats.
//
//   destination[r, c] = sum over parts of partials[part][r][c], and what destination[r, c] was, where `adds` says so
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

struct PartialSumsParams {
    const float* partials;
    void* destination;
    long long part_stride;
    long long partial_stride;
    long long destination_stride;
    long long elements;  // rows * columns
    int columns;
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
    long long element = static_cast<long long>(blockIdx.x) * width + lane;
    bool is_there = element < p.elements;
    // Dividing 64 bits takes many times as long.
    long long row = p.elements <= 0xffffffffll ? static_cast<unsigned int>(element) / static_cast<unsigned int>(p.columns)
                                               : element / p.columns;
    long long column = element - row * p.columns;

    wait_for_earlier_grids();
    float sum = 0.0f;
    if (is_there) {
        int length = (p.parts + slices - 1) / slices;
        int first = slice * length;
        int end = first + length < p.parts ? first + length : p.parts;
        sum = sum_of_parts<kAhead>(p.partials + row * p.partial_stride + column, p.part_stride, first, end);
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
        T* destination = static_cast<T*>(p.destination) + row * p.destination_stride + column;
        *destination = from_float<T>(p.adds != 0 ? to_float(*destination) + sum : sum);
    }
}

}  // namespace mamba
