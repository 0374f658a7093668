// bandwidth.cu: how fast this card's memory can be read and copied: the ceilings that measurements are held against.
//
// A thread moves kVectors pieces of 16 bytes, a block's width apart, so that that many loads are under way at once and all are coalesced.
constexpr int kVectors = 4;

__device__ inline long long first_vector()
{
    return static_cast<long long>(blockIdx.x) * blockDim.x * kVectors + threadIdx.x;
}

extern "C" __global__ void read_memory(const uint4 *source, long long count, unsigned int *never)
{
    uint4 read[kVectors] = {};
    for (int i = 0; i < kVectors; i++)
    {
        long long at = first_vector() + static_cast<long long>(i) * blockDim.x;
        if (at < count)
        {
            read[i] = source[at];
        }
    }

    unsigned int bits = 0;
    for (int i = 0; i < kVectors; i++)
    {
        bits |= read[i].x | read[i].y | read[i].z | read[i].w;
    }

    // The memory is zero, which the compiler cannot know: so it has to read.
    if (bits != 0)
    {
        *never = bits;
    }
}

extern "C" __global__ void copy_memory(const uint4 *source, long long count, uint4 *destination)
{
    uint4 read[kVectors];
    for (int i = 0; i < kVectors; i++)
    {
        long long at = first_vector() + static_cast<long long>(i) * blockDim.x;
        if (at < count)
        {
            read[i] = source[at];
        }
    }

    for (int i = 0; i < kVectors; i++)
    {
        long long at = first_vector() + static_cast<long long>(i) * blockDim.x;
        if (at < count)
        {
            destination[at] = read[i];
        }
    }
}
