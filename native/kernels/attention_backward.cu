// attention_backward.cu: the gradients of causal attention (see attention_forward.cu).
//
//   with p[i, j] = e^(scale q[i] . k[j] - log_sum_exp[i]),  delta[i] = grad_y[i] . y[i],  s[i, j] = p[i, j] (grad_y[i] . v[j] - delta[i]):
//
//   grad_q[i] = scale sum over j <= i of s[i, j] k[j]     grad_k[j] = scale sum over i >= j of s[i, j] q[i]     grad_v[j] = sum of p[i, j] grad_y[i]
//
//   all (tokens, heads x head size)     log_sum_exp, delta (heads, tokens), fp32
//
//   attention_backward_query    delta and grad_q: a block keeps queries and walks the keys up to them
//   attention_backward_key      grad_k and grad_v, after delta: a block keeps keys and walks the queries from them on
//   ..._wgmma                   the same on Hopper (sm_90a), whose tensor cores mma.sync cannot fill
//   ..._any                     the same by a warp a query or key, float arithmetic: any type, place and head size up to 128
//
// The scores are made twice, 7 products in place of the 5 of FlashAttention-2 (algorithm 2), whose blocks add to grad_q atomically: here each
// sum has one owner and one order, so that it repeats bit for bit, and nothing but the results is written. The key kernel makes the transposes
// of p and s, keys down and queries across, which are the left operands of grad_v and grad_k where they are. A weight of 0 is multiplied like
// any other, so by tensor cores what is not a number reaches all rows of its tile, also those that do not see it.
//
// H200, bf16, batch 8, length 8,192: 16.5 ms with 32 heads of 64, 14.1 with 16 of 128 (mma.sync 24.0 and 22.7; PyTorch's flash 21.2 and 18.8).
#include "mamba/attention.cuh"
#include "mamba/fast_math.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/wgmma.cuh"

namespace mamba {

struct AttentionBackwardParams {
    const void* q;
    const void* k;
    const void* v;
    const void* y;
    const void* grad_y;
    const float* log_sum_exp;
    float* delta;
    void* grad_q;
    void* grad_k;
    void* grad_v;
    long long q_stride;
    long long k_stride;
    long long v_stride;
    long long y_stride;
    long long grad_y_stride;
    long long log_sum_exp_stride;
    long long delta_stride;
    long long grad_q_stride;
    long long grad_k_stride;
    long long grad_v_stride;
    SequenceTable sequences;
    int head_size;
    float scale;
};

// Rows of a tile that a block walks at once.
constexpr int kWalked = 64;

template <typename T, int kHead>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_backward_query(const __grid_constant__ AttentionBackwardParams p)
{
    constexpr int kQueries = kAttentionThreads / 32 * 16;
    constexpr int kRowBytes = kHead * 2;
    constexpr int kTileBytes = kWalked * kRowBytes;
    constexpr int kSteps = kHead / 16;

    extern __shared__ __align__(1024) char shared[];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
    int head = static_cast<int>(blockIdx.y);
    AttentionRows rows(p.sequences, gridDim.x - 1 - blockIdx.x, kQueries);
    if (rows.first >= rows.length) {
        return;
    }
    long long row = rows.start + rows.first;
    int column = head * kHead;
    const T* k = static_cast<const T*>(p.k) + rows.start * p.k_stride + column;
    const T* v = static_cast<const T*>(p.v) + rows.start * p.v_stride + column;
    char* queries = shared;
    char* grads = queries + kQueries * kRowBytes;
    char* stages = grads + kQueries * kRowBytes;
    char* results = stages + 2 * kTileBytes;

    auto bring = [&](int tile) {
        char* stage = stages + tile % 2 * (2 * kTileBytes);
        int left = rows.length - tile * kWalked;
        stage_tile<kHead, kWalked>(stage, k + static_cast<long long>(tile) * kWalked * p.k_stride, p.k_stride, left);
        stage_tile<kHead, kWalked>(stage + kTileBytes, v + static_cast<long long>(tile) * kWalked * p.v_stride, p.v_stride, left);
    };
    int there = rows.length - rows.first;
    wait_for_earlier_grids();
    stage_tile<kHead, kQueries>(queries, static_cast<const T*>(p.q) + row * p.q_stride + column, p.q_stride, there);
    stage_tile<kHead, kQueries>(grads, static_cast<const T*>(p.grad_y) + row * p.grad_y_stride + column, p.grad_y_stride, there);

    // In the place of the second tile, which is not there yet.
    stage_tile<kHead, kQueries>(results, static_cast<const T*>(p.y) + row * p.y_stride + column, p.y_stride, there);
    bring(0);
    async_commit();
    async_wait<0>();
    __syncthreads();

    int query_place = rows_of_left<kHead>(warp_row);
    int key_place = rows_of_right<kHead>(0);
    int transposed_key_place = rows_of_left<kHead>(0);
    unsigned int query[kSteps][4];
    unsigned int grad[kSteps][4];
    float delta[2] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        unsigned int y[4];
        load_matrices(query[step], queries + (query_place ^ (step * 32)));
        load_matrices(grad[step], grads + (query_place ^ (step * 32)));
        load_matrices(y, results + (query_place ^ (step * 32)));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            delta[i % 2] = fmaf(lower<T>(grad[step][i]), lower<T>(y[i]), delta[i % 2]);
            delta[i % 2] = fmaf(upper<T>(grad[step][i]), upper<T>(y[i]), delta[i % 2]);
        }
    }
    int first_query = rows.first + warp_row;
    float log_sum_exp[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        delta[half] += __shfl_xor_sync(kAllLanes, delta[half], 1);
        delta[half] += __shfl_xor_sync(kAllLanes, delta[half], 2);
        int mine = first_query + half * 8 + lane / 4;
        bool inside = mine < rows.length;
        log_sum_exp[half] = inside ? p.log_sum_exp[head * p.log_sum_exp_stride + rows.start + mine] * kLog2E : 0;
        if (inside && lane % 4 == 0) {
            p.delta[head * p.delta_stride + rows.start + mine] = delta[half];
        }
    }

    float sums[kHead / 8][4] = {};
    float factor = p.scale * kLog2E;
    int tiles = (min(rows.first + kQueries, rows.length) + kWalked - 1) / kWalked;
    for (int tile = 0; tile < tiles; ++tile) {
        async_wait<0>();
        __syncthreads();
        if (tile + 1 < tiles) {
            bring(tile + 1);
        }
        async_commit();
        const char* keys = stages + tile % 2 * (2 * kTileBytes);
        const char* values = keys + kTileBytes;
        int first_key = tile * kWalked;
        if (first_key >= first_query + 16) {
            continue;
        }
        float scores[kWalked / 8][4] = {};
        float slopes[kWalked / 8][4] = {};
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
#pragma unroll
            for (int n = 0; n < kWalked / 8; n += 2) {
                unsigned int both[4];
                int place = (key_place ^ (step * 32)) + n * 8 * kRowBytes;
                load_matrices(both, keys + place);
                multiply_both<T>(&scores[n], query[step], both);
                load_matrices(both, values + place);
                multiply_both<T>(&slopes[n], grad[step], both);
            }
        }
        if (first_key + kWalked > first_query + 1) {
            int behind = first_query + lane / 4 - first_key - lane % 4 * 2;
            leave_out_later_keys(scores, behind);
        }
#pragma unroll
        for (int n = 0; n < kWalked / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                scores[n][e] = exp2_approx(fmaf(scores[n][e], factor, -log_sum_exp[e / 2])) * (slopes[n][e] - delta[e / 2]);
            }
        }
#pragma unroll
        for (int step = 0; step < kWalked / 16; ++step) {
            unsigned int a[4];
            as_left<T>(&scores[2 * step], a);
#pragma unroll
            for (int n = 0; n < kHead / 8; n += 2) {
                unsigned int both[4];
                load_matrices_transposed(both, keys + (transposed_key_place ^ (n * 16)) + step * 16 * kRowBytes);
                multiply_both<T>(&sums[n], a, both);
            }
        }
    }

    T* to = static_cast<T*>(p.grad_q) + (row + warp_row) * p.grad_q_stride + column;
    store_rows<kHead>(queries, warp_row, sums, p.scale, p.scale, to, p.grad_q_stride, there - warp_row);
}

template <typename T, int kHead>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_backward_key(const __grid_constant__ AttentionBackwardParams p)
{
    constexpr int kKeys = kAttentionThreads / 32 * 16;
    static_assert(kKeys == kWalked, "the queries walked first are those of the keys");
    constexpr int kRowBytes = kHead * 2;
    constexpr int kTileBytes = kWalked * kRowBytes;
    constexpr int kStageBytes = 2 * kTileBytes + 2 * kWalked * static_cast<int>(sizeof(float));
    constexpr int kSteps = kHead / 16;
    constexpr bool kHoldsKeys = kHead <= 64;

    extern __shared__ __align__(1024) char shared[];
    int thread = static_cast<int>(threadIdx.x);
    int lane = thread % 32;
    int warp_row = thread / 32 * 16;
    int head = static_cast<int>(blockIdx.y);
    AttentionRows rows(p.sequences, blockIdx.x, kKeys);
    if (rows.first >= rows.length) {
        return;
    }
    long long row = rows.start + rows.first;
    int column = head * kHead;
    int there = rows.length - rows.first;
    const T* q = static_cast<const T*>(p.q) + row * p.q_stride + column;
    const T* grad_y = static_cast<const T*>(p.grad_y) + row * p.grad_y_stride + column;
    const float* log_sum_exp = p.log_sum_exp + head * p.log_sum_exp_stride + row;
    const float* delta = p.delta + head * p.delta_stride + row;
    char* keys = shared;
    char* values = keys + kKeys * kRowBytes;
    char* stages = values + kKeys * kRowBytes;

    // What is not there becomes zero, and adds nothing.
    auto bring = [&](int tile) {
        char* stage = stages + tile % 2 * kStageBytes;
        int first = tile * kWalked;
        stage_tile<kHead, kWalked>(stage, q + first * p.q_stride, p.q_stride, there - first);
        stage_tile<kHead, kWalked>(stage + kTileBytes, grad_y + first * p.grad_y_stride, p.grad_y_stride, there - first);
        bool inside = first + thread % kWalked < there;
        const float* numbers = (thread < kWalked ? log_sum_exp : delta) + (inside ? first + thread % kWalked : 0);
        async_copy<4>(stage + 2 * kTileBytes + thread * static_cast<int>(sizeof(float)), numbers, inside);
    };
    wait_for_earlier_grids();
    stage_tile<kHead, kKeys>(keys, static_cast<const T*>(p.k) + row * p.k_stride + column, p.k_stride, there);
    stage_tile<kHead, kKeys>(values, static_cast<const T*>(p.v) + row * p.v_stride + column, p.v_stride, there);
    bring(0);
    async_commit();

    int key_place = rows_of_left<kHead>(warp_row);
    int query_place = rows_of_right<kHead>(0);
    int transposed_query_place = rows_of_left<kHead>(0);
    unsigned int held_key[kHoldsKeys ? kSteps : 1][4];
    unsigned int held_value[kHoldsKeys ? kSteps : 1][4];
    if (kHoldsKeys) {
        async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int step = 0; step < (kHoldsKeys ? kSteps : 0); ++step) {
            load_matrices(held_key[step], keys + (key_place ^ (step * 32)));
            load_matrices(held_value[step], values + (key_place ^ (step * 32)));
        }
    }

    float grad_k[kHead / 8][4] = {};
    float grad_v[kHead / 8][4] = {};
    float factor = p.scale * kLog2E;
    int tiles = (there + kWalked - 1) / kWalked;
    for (int tile = 0; tile < tiles; ++tile) {
        async_wait<0>();
        __syncthreads();
        if (tile + 1 < tiles) {
            bring(tile + 1);
        }
        async_commit();
        const char* queries = stages + tile % 2 * kStageBytes;
        const char* grads = queries + kTileBytes;
        const float* numbers = reinterpret_cast<const float*>(queries + 2 * kTileBytes);
        float weights[kWalked / 8][4] = {};
        float slopes[kWalked / 8][4] = {};
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            unsigned int key[4];
            unsigned int value[4];
            if (!kHoldsKeys) {
                load_matrices(key, keys + (key_place ^ (step * 32)));
                load_matrices(value, values + (key_place ^ (step * 32)));
            }
#pragma unroll
            for (int n = 0; n < kWalked / 8; n += 2) {
                unsigned int both[4];
                int place = (query_place ^ (step * 32)) + n * 8 * kRowBytes;
                load_matrices(both, queries + place);
                multiply_both<T>(&weights[n], kHoldsKeys ? held_key[kHoldsKeys ? step : 0] : key, both);
                load_matrices(both, grads + place);
                multiply_both<T>(&slopes[n], kHoldsKeys ? held_value[kHoldsKeys ? step : 0] : value, both);
            }
        }
        if (tile == 0) {
            int behind = warp_row + lane / 4 - lane % 4 * 2;
            leave_out_earlier_queries(weights, behind);
        }
#pragma unroll
        for (int n = 0; n < kWalked / 8; ++n) {
            float2 exponent = *reinterpret_cast<const float2*>(numbers + n * 8 + lane % 4 * 2);
            float2 mean = *reinterpret_cast<const float2*>(numbers + kWalked + n * 8 + lane % 4 * 2);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                float offset = (e % 2 == 0 ? exponent.x : exponent.y) * kLog2E;
                float weight = exp2_approx(fmaf(weights[n][e], factor, -offset));
                weights[n][e] = weight;
                slopes[n][e] = weight * (slopes[n][e] - (e % 2 == 0 ? mean.x : mean.y));
            }
        }
#pragma unroll
        for (int step = 0; step < kWalked / 16; ++step) {
            unsigned int weight[4];
            unsigned int slope[4];
            as_left<T>(&weights[2 * step], weight);
            as_left<T>(&slopes[2 * step], slope);
#pragma unroll
            for (int n = 0; n < kHead / 8; n += 2) {
                unsigned int both[4];
                int place = (transposed_query_place ^ (n * 16)) + step * 16 * kRowBytes;
                load_matrices_transposed(both, grads + place);
                multiply_both<T>(&grad_v[n], weight, both);
                load_matrices_transposed(both, queries + place);
                multiply_both<T>(&grad_k[n], slope, both);
            }
        }
    }

    // Through the keys' and values' own rows, which no other warp reads.
    T* to_k = static_cast<T*>(p.grad_k) + (row + warp_row) * p.grad_k_stride + column;
    T* to_v = static_cast<T*>(p.grad_v) + (row + warp_row) * p.grad_v_stride + column;
    store_rows<kHead>(keys, warp_row, grad_k, p.scale, p.scale, to_k, p.grad_k_stride, there - warp_row);
    store_rows<kHead>(values, warp_row, grad_v, 1.0f, 1.0f, to_v, p.grad_v_stride, there - warp_row);
}

#if defined(MAMBA_HAS_WGMMA)
// Tensor cores by wgmma: two groups of four warps, each with 64 of the rows that the block keeps. Slopes are summed while weights are made of
// scores. Products do not go on into the next tile: ptxas then lets none run beside another (its message C7515; 18.6 ms in place of 16.5 at
// 8 x 32 x 64 x 8,192 on an H200). Heads of 128 are staged as two halves of 64.
constexpr int kWgmmaRows = 128;
constexpr int kWgmmaThreads = 256;

template <typename T, int kHead, int kKeys>
__global__ void __launch_bounds__(kWgmmaThreads, 1) attention_backward_query_wgmma(const __grid_constant__ AttentionBackwardParams p)
{
    constexpr int kKeptBytes = kWgmmaRows * kHead * 2;
    constexpr int kTileBytes = kKeys * kHead * 2;
    static_assert(kKeptBytes <= 2 * kTileBytes, "y fits into a stage");

    extern __shared__ __align__(1024) char shared[];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int group_row = static_cast<int>(threadIdx.x) / 128 * 64;
    int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
    int head = static_cast<int>(blockIdx.y);
    AttentionRows rows(p.sequences, gridDim.x - 1 - blockIdx.x, kWgmmaRows);
    if (rows.first >= rows.length) {
        return;
    }
    long long row = rows.start + rows.first;
    int column = head * kHead;
    int there = rows.length - rows.first;
    const T* k = static_cast<const T*>(p.k) + rows.start * p.k_stride + column;
    const T* v = static_cast<const T*>(p.v) + rows.start * p.v_stride + column;
    char* queries = shared;
    char* grads = queries + kKeptBytes;
    char* stages = grads + kKeptBytes;
    char* results = stages + 2 * kTileBytes;
    int tiles = (min(rows.first + kWgmmaRows, rows.length) + kKeys - 1) / kKeys;

    auto bring = [&](int tile) {
        if (tile < tiles) {
            char* stage = stages + tile % 2 * (2 * kTileBytes);
            int left = rows.length - tile * kKeys;
            stage_halves<kHead, kKeys, kWgmmaThreads>(stage, k + static_cast<long long>(tile) * kKeys * p.k_stride, p.k_stride, left);
            stage_halves<kHead, kKeys, kWgmmaThreads>(stage + kTileBytes, v + static_cast<long long>(tile) * kKeys * p.v_stride, p.v_stride, left);
        }
        async_commit();
    };
    wait_for_earlier_grids();
    stage_halves<kHead, kWgmmaRows, kWgmmaThreads>(queries, static_cast<const T*>(p.q) + row * p.q_stride + column, p.q_stride, there);
    stage_halves<kHead, kWgmmaRows, kWgmmaThreads>(
        grads, static_cast<const T*>(p.grad_y) + row * p.grad_y_stride + column, p.grad_y_stride, there);

    // In the place of the second tile, which is not there yet.
    stage_halves<kHead, kWgmmaRows, kWgmmaThreads>(results, static_cast<const T*>(p.y) + row * p.y_stride + column, p.y_stride, there);
    bring(0);
    async_wait<0>();
    __syncthreads();

    float delta[2] = {};
    int place = rows_of_left<64>(warp_row);
#pragma unroll
    for (int step = 0; step < kHead / 16; ++step) {
        unsigned int grad[4];
        unsigned int y[4];
        int at = step / 4 * (kWgmmaRows * 128) + (place ^ (step % 4 * 32));
        load_matrices(grad, grads + at);
        load_matrices(y, results + at);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            delta[i % 2] = fmaf(lower<T>(grad[i]), lower<T>(y[i]), delta[i % 2]);
            delta[i % 2] = fmaf(upper<T>(grad[i]), upper<T>(y[i]), delta[i % 2]);
        }
    }
    int query = rows.first + warp_row + lane / 4;
    float log_sum_exp[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        delta[half] += __shfl_xor_sync(kAllLanes, delta[half], 1);
        delta[half] += __shfl_xor_sync(kAllLanes, delta[half], 2);
        bool inside = query + half * 8 < rows.length;
        log_sum_exp[half] = inside ? p.log_sum_exp[head * p.log_sum_exp_stride + rows.start + query + half * 8] * kLog2E : 0;
        if (inside && lane % 4 == 0) {
            p.delta[head * p.delta_stride + rows.start + query + half * 8] = delta[half];
        }
    }

    float factor = p.scale * kLog2E;
    float sums[kHead / 8][4] = {};
    for (int tile = 0; tile < tiles; ++tile) {
        async_wait<0>();
        async_proxy_fence();
        __syncthreads();
        float scores[kKeys / 8][4];
        float slopes[kKeys / 8][4];
        unsigned int left[kKeys / 16][4];
        const char* keys = stages + tile % 2 * (2 * kTileBytes);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < kHead / 16; ++step) {
            unsigned long long a = matrix_descriptor(queries + step / 4 * (kWgmmaRows * 128) + group_row * 128) + 2 * (step % 4);
            wgmma<T>(scores, a, matrix_descriptor(keys + step / 4 * (kKeys * 128)) + 2 * (step % 4), step > 0);
        }
        wgmma_commit();
#pragma unroll
        for (int step = 0; step < kHead / 16; ++step) {
            unsigned long long a = matrix_descriptor(grads + step / 4 * (kWgmmaRows * 128) + group_row * 128) + 2 * (step % 4);
            wgmma<T>(slopes, a, matrix_descriptor(keys + kTileBytes + step / 4 * (kKeys * 128)) + 2 * (step % 4), step > 0);
        }
        wgmma_commit();
        bring(tile + 1);
        wgmma_wait<1>();
        wgmma_done(scores);
        int first_key = tile * kKeys;
        if (first_key + kKeys > rows.first + warp_row + 1) {
            int behind = query - first_key - lane % 4 * 2;
            leave_out_later_keys(scores, behind);
        }
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                scores[n][e] = exp2_approx(fmaf(scores[n][e], factor, -log_sum_exp[e / 2]));
            }
        }
        wgmma_wait<0>();
        wgmma_done(slopes);
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                scores[n][e] *= slopes[n][e] - delta[e / 2];
            }
        }
#pragma unroll
        for (int step = 0; step < kKeys / 16; ++step) {
            as_left<T>(&scores[2 * step], left[step]);
        }
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < kKeys / 16; ++step) {
            wgmma_rows<T>(sums, left[step], row_descriptor(keys, kKeys * 128) + 128 * step);
        }
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_done(sums);
    }
    __syncthreads();
    T* to = static_cast<T*>(p.grad_q) + (row + warp_row) * p.grad_q_stride + column;
#pragma unroll
    for (int half = 0; half < kHead / 64; ++half) {
        char* through = queries + half * (kWgmmaRows * 128);
        store_rows<64>(through, warp_row, &sums[half * 8], p.scale, p.scale, to + half * 64, p.grad_q_stride, there - warp_row);
    }
}

template <typename T, int kHead>
__global__ void __launch_bounds__(kWgmmaThreads, 1) attention_backward_key_wgmma(const __grid_constant__ AttentionBackwardParams p)
{
    constexpr int kKeptBytes = kWgmmaRows * kHead * 2;
    constexpr int kTileBytes = kWalked * kHead * 2;
    constexpr int kNumberBytes = 2 * kWalked * static_cast<int>(sizeof(float));

    extern __shared__ __align__(1024) char shared[];
    int thread = static_cast<int>(threadIdx.x);
    int lane = thread % 32;
    int group_row = thread / 128 * 64;
    int warp_row = thread / 32 * 16;
    int head = static_cast<int>(blockIdx.y);
    AttentionRows rows(p.sequences, blockIdx.x, kWgmmaRows);
    if (rows.first >= rows.length) {
        return;
    }
    long long row = rows.start + rows.first;
    int column = head * kHead;
    int there = rows.length - rows.first;
    const T* q = static_cast<const T*>(p.q) + row * p.q_stride + column;
    const T* grad_y = static_cast<const T*>(p.grad_y) + row * p.grad_y_stride + column;
    const float* log_sum_exp = p.log_sum_exp + head * p.log_sum_exp_stride + row;
    const float* delta = p.delta + head * p.delta_stride + row;
    char* keys = shared;
    char* values = keys + kKeptBytes;
    char* stages = values + kKeptBytes;
    char* numbers = stages + 4 * kTileBytes;
    int tiles = (there + kWalked - 1) / kWalked;

    // What is not there becomes zero, and adds nothing.
    auto bring = [&](int tile) {
        if (tile < tiles) {
            char* stage = stages + tile % 2 * (2 * kTileBytes);
            int first = tile * kWalked;
            stage_halves<kHead, kWalked, kWgmmaThreads>(stage, q + first * p.q_stride, p.q_stride, there - first);
            stage_halves<kHead, kWalked, kWgmmaThreads>(stage + kTileBytes, grad_y + first * p.grad_y_stride, p.grad_y_stride, there - first);
            if (thread < 2 * kWalked) {
                bool inside = first + thread % kWalked < there;
                const float* from = (thread < kWalked ? log_sum_exp : delta) + (inside ? first + thread % kWalked : 0);
                async_copy<4>(numbers + tile % 2 * kNumberBytes + thread * static_cast<int>(sizeof(float)), from, inside);
            }
        }
        async_commit();
    };
    wait_for_earlier_grids();
    stage_halves<kHead, kWgmmaRows, kWgmmaThreads>(keys, static_cast<const T*>(p.k) + row * p.k_stride + column, p.k_stride, there);
    stage_halves<kHead, kWgmmaRows, kWgmmaThreads>(values, static_cast<const T*>(p.v) + row * p.v_stride + column, p.v_stride, there);
    bring(0);

    float factor = p.scale * kLog2E;
    float grad_k[kHead / 8][4] = {};
    float grad_v[kHead / 8][4] = {};
    for (int tile = 0; tile < tiles; ++tile) {
        async_wait<0>();
        async_proxy_fence();
        __syncthreads();
        float weights[kWalked / 8][4];
        float slopes[kWalked / 8][4];
        unsigned int left_weights[kWalked / 16][4];
        unsigned int left_slopes[kWalked / 16][4];
        const char* queries = stages + tile % 2 * (2 * kTileBytes);
        const char* grads = queries + kTileBytes;
        const float* numbers_of_tile = reinterpret_cast<const float*>(numbers + tile % 2 * kNumberBytes);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < kHead / 16; ++step) {
            unsigned long long a = matrix_descriptor(keys + step / 4 * (kWgmmaRows * 128) + group_row * 128) + 2 * (step % 4);
            wgmma<T>(weights, a, matrix_descriptor(queries + step / 4 * (kWalked * 128)) + 2 * (step % 4), step > 0);
        }
        wgmma_commit();
#pragma unroll
        for (int step = 0; step < kHead / 16; ++step) {
            unsigned long long a = matrix_descriptor(values + step / 4 * (kWgmmaRows * 128) + group_row * 128) + 2 * (step % 4);
            wgmma<T>(slopes, a, matrix_descriptor(grads + step / 4 * (kWalked * 128)) + 2 * (step % 4), step > 0);
        }
        wgmma_commit();
        bring(tile + 1);
        wgmma_wait<1>();
        wgmma_done(weights);
        int first_query = tile * kWalked;
        if (first_query < warp_row + 15) {
            int behind = warp_row + lane / 4 - first_query - lane % 4 * 2;
            leave_out_earlier_queries(weights, behind);
        }
#pragma unroll
        for (int n = 0; n < kWalked / 8; ++n) {
            float2 exponent = *reinterpret_cast<const float2*>(numbers_of_tile + n * 8 + lane % 4 * 2);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                weights[n][e] = exp2_approx(fmaf(weights[n][e], factor, (e % 2 == 0 ? exponent.x : exponent.y) * -kLog2E));
            }
        }
#pragma unroll
        for (int step = 0; step < kWalked / 16; ++step) {
            as_left<T>(&weights[2 * step], left_weights[step]);
        }
        wgmma_wait<0>();
        wgmma_done(slopes);
#pragma unroll
        for (int n = 0; n < kWalked / 8; ++n) {
            float2 mean = *reinterpret_cast<const float2*>(numbers_of_tile + kWalked + n * 8 + lane % 4 * 2);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                slopes[n][e] = weights[n][e] * (slopes[n][e] - (e % 2 == 0 ? mean.x : mean.y));
            }
        }
#pragma unroll
        for (int step = 0; step < kWalked / 16; ++step) {
            as_left<T>(&slopes[2 * step], left_slopes[step]);
        }
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < kWalked / 16; ++step) {
            wgmma_rows<T>(grad_v, left_weights[step], row_descriptor(grads, kWalked * 128) + 128 * step);
        }
#pragma unroll
        for (int step = 0; step < kWalked / 16; ++step) {
            wgmma_rows<T>(grad_k, left_slopes[step], row_descriptor(queries, kWalked * 128) + 128 * step);
        }
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_done(grad_k);
        wgmma_done(grad_v);
    }
    __syncthreads();
    T* to_k = static_cast<T*>(p.grad_k) + (row + warp_row) * p.grad_k_stride + column;
    T* to_v = static_cast<T*>(p.grad_v) + (row + warp_row) * p.grad_v_stride + column;
#pragma unroll
    for (int half = 0; half < kHead / 64; ++half) {
        int through = half * (kWgmmaRows * 128);
        store_rows<64>(keys + through, warp_row, &grad_k[half * 8], p.scale, p.scale, to_k + half * 64, p.grad_k_stride, there - warp_row);
        store_rows<64>(values + through, warp_row, &grad_v[half * 8], 1.0f, 1.0f, to_v + half * 64, p.grad_v_stride, there - warp_row);
    }
}
#endif

// The product of a row that a warp keeps with one of another matrix.
template <typename T>
__device__ __forceinline__ float product(const float* kept, const T* other, int count)
{
    float sum = 0;
    for (int d = 0; d < count; ++d) {
        sum = fmaf(kept[d], to_float(other[d]), sum);
    }
    return sum;
}

// A lane has one of 32 keys while slopes are made, and every 32nd element of the head while they are used; so in the next.
template <typename T>
__global__ void __launch_bounds__(kAttentionThreads) attention_backward_query_any(const __grid_constant__ AttentionBackwardParams p)
{
    constexpr int kWarps = kAttentionThreads / 32;
    constexpr int kParts = kMaxHeadSize / 32;
    __shared__ float queries[kWarps][kMaxHeadSize];
    __shared__ float grads[kWarps][kMaxHeadSize];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp = static_cast<int>(threadIdx.x) / 32;
    long long column = static_cast<long long>(blockIdx.y) * p.head_size;
    AttentionRows rows(p.sequences, gridDim.x - 1 - blockIdx.x, kWarps);
    int query = rows.first + warp;
    if (query >= rows.length) {
        return;
    }
    wait_for_earlier_grids();
    long long row = rows.start + query;
    float delta = 0;
    for (int d = lane; d < p.head_size; d += 32) {
        queries[warp][d] = to_float(static_cast<const T*>(p.q)[row * p.q_stride + column + d]);
        grads[warp][d] = to_float(static_cast<const T*>(p.grad_y)[row * p.grad_y_stride + column + d]);
        delta = fmaf(grads[warp][d], to_float(static_cast<const T*>(p.y)[row * p.y_stride + column + d]), delta);
    }
    __syncwarp();
    delta = warp_sum(delta);
    if (lane == 0) {
        p.delta[blockIdx.y * p.delta_stride + row] = delta;
    }

    float log_sum_exp = p.log_sum_exp[blockIdx.y * p.log_sum_exp_stride + row];
    float sums[kParts] = {};
    for (int first = 0; first <= query; first += 32) {
        float slope = 0;
        if (first + lane <= query) {
            long long other = rows.start + first + lane;
            float score = product(queries[warp], static_cast<const T*>(p.k) + other * p.k_stride + column, p.head_size);
            float grad = product(grads[warp], static_cast<const T*>(p.v) + other * p.v_stride + column, p.head_size);
            slope = expf(score * p.scale - log_sum_exp) * (grad - delta);
        }
        int count = min(32, query + 1 - first);
        for (int i = 0; i < count; ++i) {
            float given = __shfl_sync(kAllLanes, slope, i);
            const T* k = static_cast<const T*>(p.k) + (rows.start + first + i) * p.k_stride + column;
#pragma unroll
            for (int part = 0; part < kParts; ++part) {
                if (part * 32 + lane < p.head_size) {
                    sums[part] = fmaf(given, to_float(k[part * 32 + lane]), sums[part]);
                }
            }
        }
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
        if (part * 32 + lane < p.head_size) {
            static_cast<T*>(p.grad_q)[row * p.grad_q_stride + column + part * 32 + lane] = from_float<T>(sums[part] * p.scale);
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(kAttentionThreads) attention_backward_key_any(const __grid_constant__ AttentionBackwardParams p)
{
    constexpr int kWarps = kAttentionThreads / 32;
    constexpr int kParts = kMaxHeadSize / 32;
    __shared__ float keys[kWarps][kMaxHeadSize];
    __shared__ float values[kWarps][kMaxHeadSize];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp = static_cast<int>(threadIdx.x) / 32;
    long long column = static_cast<long long>(blockIdx.y) * p.head_size;
    AttentionRows rows(p.sequences, blockIdx.x, kWarps);
    int key = rows.first + warp;
    if (key >= rows.length) {
        return;
    }
    wait_for_earlier_grids();
    long long row = rows.start + key;
    for (int d = lane; d < p.head_size; d += 32) {
        keys[warp][d] = to_float(static_cast<const T*>(p.k)[row * p.k_stride + column + d]);
        values[warp][d] = to_float(static_cast<const T*>(p.v)[row * p.v_stride + column + d]);
    }
    __syncwarp();

    float grad_k[kParts] = {};
    float grad_v[kParts] = {};
    for (int first = key; first < rows.length; first += 32) {
        float weight = 0;
        float slope = 0;
        if (first + lane < rows.length) {
            long long other = rows.start + first + lane;
            float score = product(keys[warp], static_cast<const T*>(p.q) + other * p.q_stride + column, p.head_size);
            float grad = product(values[warp], static_cast<const T*>(p.grad_y) + other * p.grad_y_stride + column, p.head_size);
            weight = expf(score * p.scale - p.log_sum_exp[blockIdx.y * p.log_sum_exp_stride + other]);
            slope = weight * (grad - p.delta[blockIdx.y * p.delta_stride + other]);
        }
        int count = min(32, rows.length - first);
        for (int i = 0; i < count; ++i) {
            float given_weight = __shfl_sync(kAllLanes, weight, i);
            float given_slope = __shfl_sync(kAllLanes, slope, i);
            const T* q = static_cast<const T*>(p.q) + (rows.start + first + i) * p.q_stride + column;
            const T* grad_y = static_cast<const T*>(p.grad_y) + (rows.start + first + i) * p.grad_y_stride + column;
#pragma unroll
            for (int part = 0; part < kParts; ++part) {
                if (part * 32 + lane < p.head_size) {
                    grad_k[part] = fmaf(given_slope, to_float(q[part * 32 + lane]), grad_k[part]);
                    grad_v[part] = fmaf(given_weight, to_float(grad_y[part * 32 + lane]), grad_v[part]);
                }
            }
        }
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
        if (part * 32 + lane < p.head_size) {
            static_cast<T*>(p.grad_k)[row * p.grad_k_stride + column + part * 32 + lane] = from_float<T>(grad_k[part] * p.scale);
            static_cast<T*>(p.grad_v)[row * p.grad_v_stride + column + part * 32 + lane] = from_float<T>(grad_v[part]);
        }
    }
}

}  // namespace mamba
