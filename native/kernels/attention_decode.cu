// attention_decode.cu: attention of one new token of each sequence to those in its cache and to itself; the cache gets the token too.
//
//   y[b] = sum over j <= n of p[j] v[j]     p = softmax over j <= n of scale q[b] . k[j]     n = lengths[b], the tokens in the cache before
//
//   q, k, v, y (batch, heads x head size)     key_cache, value_cache (batch x capacity, heads x head size), row n of a sequence becomes k, v
//
// The cache is cut into chunks, a block for each of one sequence and head (flash-decoding: Dao, Haziza, Massa and Sizov, 2023). kLanes lanes
// read a key together, kVec elements each, kAhead keys at once, and keep a largest score, a sum and a part of y of their own; these meet in
// the warp, then in the block, and where there are several chunks in attention_decode_combine, always in the same order. Blocks of chunks that
// the sequence does not reach end at once: the length is read on the device, so a captured graph goes on as sequences grow. Heads lie next to
// each other in the grid as in the cache, so that whole rows are read at one time. Reading the cache is the limit.
#include "mamba/attention.cuh"
#include "mamba/fast_math.cuh"
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"

namespace mamba {

struct AttentionDecodeParams {
    const void* q;
    const void* k;
    const void* v;
    void* key_cache;
    void* value_cache;
    const int* lengths;
    void* y;
    float* partial;  // (batch, heads, chunks) of a largest score, a sum and a part of y
    Fault* fault;
    long long q_stride;
    long long k_stride;
    long long v_stride;
    long long key_cache_stride;
    long long value_cache_stride;
    long long lengths_stride;
    long long y_stride;
    long long capacity;
    int head_size;
    int chunk;  // keys of a block
    int chunks;
    float scale;
};

// What sums beside a largest score are to be multiplied by beside a larger one; scores are exponents of 2. No keys have no score, and no share.
__device__ __forceinline__ float share_of(float largest, float of_all) { return largest == minus_infinity() ? 0.0f : exp2_precise(largest - of_all); }

template <typename T, int kVec, int kLanes, int kAhead, bool kAligned>
__global__ void __launch_bounds__(kAttentionThreads) attention_decode(const __grid_constant__ AttentionDecodeParams p)
{
    constexpr int kWarps = kAttentionThreads / 32;
    constexpr int kGroups = 32 / kLanes;
    __shared__ float largests[kWarps];
    __shared__ float totals[kWarps];
    __shared__ float parts[kWarps][kMaxHeadSize];

    int thread = static_cast<int>(threadIdx.x);
    int lane = thread % 32;
    int warp = thread / 32;
    long long column = static_cast<long long>(blockIdx.x) * p.head_size;
    int sequence = static_cast<int>(blockIdx.z);
    wait_for_earlier_grids();
    int length = p.lengths[sequence * p.lengths_stride];
    if (length < 0 || length >= p.capacity) {
        report(p.fault, FaultKind::cache_length, sequence, length);
        return;
    }
    long long first = static_cast<long long>(blockIdx.y) * p.chunk;
    if (first > length) {
        return;
    }
    long long end = min(first + p.chunk, length + 1ll);
    const T* new_key = static_cast<const T*>(p.k) + sequence * p.k_stride + column;
    const T* new_value = static_cast<const T*>(p.v) + sequence * p.v_stride + column;
    T* keys = static_cast<T*>(p.key_cache) + sequence * p.capacity * p.key_cache_stride + column;
    T* values = static_cast<T*>(p.value_cache) + sequence * p.capacity * p.value_cache_stride + column;
    if (length < end) {
        for (int d = thread; d < p.head_size; d += kAttentionThreads) {
            keys[length * p.key_cache_stride + d] = new_key[d];
            values[length * p.value_cache_stride + d] = new_value[d];
        }
    }

    int element = lane % kLanes * kVec;
    int count = p.head_size - element;
    float query[kVec] = {};
    if (!kAligned || count > 0) {
        load_row<kAligned>(static_cast<const T*>(p.q) + sequence * p.q_stride + column + element, count, query);
    }
    float factor = p.scale * kLog2E;
    float largest = minus_infinity();
    float total = 0;
    float sums[kVec] = {};
    for (long long base = first + warp * (kGroups * kAhead); base < end; base += kWarps * kGroups * kAhead) {
        Stored<T, kVec> key[kAhead];
        Stored<T, kVec> value[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            long long j = base + i * kGroups + lane / kLanes;
            int there = j < end ? count : 0;
            // The new token's row of the cache may not be written yet.
            load_row<kAligned>((j == length ? new_key : keys + j * p.key_cache_stride) + element, there, key[i]);
            load_row<kAligned>((j == length ? new_value : values + j * p.value_cache_stride) + element, there, value[i]);
        }
        float score[kAhead];
        float now = largest;
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            float k[kVec];
            widen(key[i], k);
            float sum = 0;
#pragma unroll
            for (int e = 0; e < kVec; ++e) {
                sum = fmaf(query[e], k[e], sum);
            }
#pragma unroll
            for (int distance = kLanes / 2; distance > 0; distance /= 2) {
                sum += __shfl_xor_sync(kAllLanes, sum, distance);
            }
            score[i] = base + i * kGroups + lane / kLanes < end ? sum * factor : minus_infinity();
            now = fmaxf(now, score[i]);
        }
        if (now > largest) {
            float shrunk = share_of(largest, now);
            total *= shrunk;
#pragma unroll
            for (int e = 0; e < kVec; ++e) {
                sums[e] *= shrunk;
            }
            largest = now;
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            bool inside = base + i * kGroups + lane / kLanes < end;
            float weight = inside ? exp2_for<T>(score[i] - largest) : 0;
            float v[kVec];
            widen(value[i], v);
            total += weight;
#pragma unroll
            for (int e = 0; e < kVec; ++e) {
                sums[e] = fmaf(weight, v[e], sums[e]);
            }
        }
    }

#pragma unroll
    for (int distance = kLanes; distance < 32; distance *= 2) {
        float other = __shfl_xor_sync(kAllLanes, largest, distance);
        float now = fmaxf(largest, other);
        float shrunk = share_of(largest, now);
        largest = now;
        total *= shrunk;
        total += __shfl_xor_sync(kAllLanes, total, distance);
#pragma unroll
        for (int e = 0; e < kVec; ++e) {
            sums[e] *= shrunk;
            sums[e] += __shfl_xor_sync(kAllLanes, sums[e], distance);
        }
    }
    if (lane < kLanes) {
        if (lane == 0) {
            largests[warp] = largest;
            totals[warp] = total;
        }
#pragma unroll
        for (int e = 0; e < kVec; ++e) {
            if (element + e < p.head_size) {
                parts[warp][element + e] = sums[e];
            }
        }
    }
    __syncthreads();
    let_next_grid_start();
    if (thread >= p.head_size) {
        return;
    }
    largest = minus_infinity();
    for (int i = 0; i < kWarps; ++i) {
        largest = fmaxf(largest, largests[i]);
    }
    total = 0;
    float sum = 0;
    for (int i = 0; i < kWarps; ++i) {
        float share = share_of(largests[i], largest);
        total = fmaf(share, totals[i], total);
        sum = fmaf(share, parts[i][thread], sum);
    }
    if (length < p.chunk) {
        static_cast<T*>(p.y)[sequence * p.y_stride + column + thread] = from_float<T>(sum / total);
        return;
    }
    long long place = (static_cast<long long>(sequence) * gridDim.x + blockIdx.x) * p.chunks + blockIdx.y;
    float* partial = p.partial + place * (p.head_size + 2);
    partial[2 + thread] = sum;
    if (thread == 0) {
        partial[0] = largest;
        partial[1] = total;
    }
}

template <typename T>
__global__ void __launch_bounds__(kAttentionThreads) attention_decode_combine(const __grid_constant__ AttentionDecodeParams p)
{
    __shared__ float scratch[kAttentionThreads / 32];
    __shared__ float shares[kAttentionThreads];
    __shared__ float totals[kAttentionThreads];
    int thread = static_cast<int>(threadIdx.x);
    int head = static_cast<int>(blockIdx.x);
    int sequence = static_cast<int>(blockIdx.y);
    wait_for_earlier_grids();
    int length = p.lengths[sequence * p.lengths_stride];

    // Of one chunk the result is there; a length that cannot be was reported.
    if (length < p.chunk || length >= p.capacity) {
        return;
    }
    int used = length / p.chunk + 1;
    long long stride = p.head_size + 2;
    const float* partial = p.partial + (static_cast<long long>(sequence) * gridDim.x + head) * p.chunks * stride;
    float largest = minus_infinity();
    for (int i = thread; i < used; i += kAttentionThreads) {
        largest = fmaxf(largest, partial[i * stride]);
    }
    largest = block_max(largest, scratch);
    float total = 0;
    float sum = 0;
    for (int first = 0; first < used; first += kAttentionThreads) {
        int count = min(kAttentionThreads, used - first);
        __syncthreads();
        if (thread < count) {
            const float* mine = partial + (first + thread) * stride;
            shares[thread] = share_of(mine[0], largest);
            totals[thread] = shares[thread] * mine[1];
        }
        __syncthreads();
        if (thread < p.head_size) {
            const float* column = partial + first * stride + 2 + thread;
#pragma unroll 8
            for (int i = 0; i < count; ++i) {
                total += totals[i];
                sum = fmaf(shares[i], column[i * stride], sum);
            }
        }
    }
    if (thread < p.head_size) {
        long long column = static_cast<long long>(head) * p.head_size;
        static_cast<T*>(p.y)[sequence * p.y_stride + column + thread] = from_float<T>(sum / total);
    }
}

}  // namespace mamba
