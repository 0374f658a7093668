// attention_forward.cu: causal attention of every head, softmax(scale q k^T) v, without its scores ever being in memory.
//
//   y[i] = sum over j <= i of p[i, j] v[j]     p[i, j] = e^(scale q[i] . k[j] - log_sum_exp[i])     log_sum_exp[i] = log sum e^(scale q[i] . k[j])
//
//   q, k, v, y (tokens, heads x head size)     log_sum_exp (heads, tokens), fp32, or none
//
//   attention_forward          tensor cores: 16-bit types, rows at multiples of 16 bytes, heads of 64 or 128
//   attention_forward_wgmma    the same on Hopper (sm_90a), whose tensor cores mma.sync cannot fill
//   attention_forward_any      a warp a query and head, float arithmetic: any type, place and head size up to 128
//
// The first is FlashAttention-2 (Dao, 2023, algorithm 1): a block keeps some queries of one head, and their sums, in registers and walks
// the keys in tiles of 64, two in shared memory, up to its own rows. Each warp has rows of its own, so that largest scores and sums need
// only the four lanes of a row, and the scores of a tile become the left operand of the product with v where they are. The sums are scaled
// anew only where a larger score came, which is soon seldom. A weight of 0 is multiplied like any other, so a value that is not a number
// reaches the queries of its tile before it too. Blocks of a head run next to each other, so that its k and v stay in the L2,
// those with most keys first.
//
// H200, bf16, batch 8, length 8,192: 5.85 ms with 32 heads of 64, 4.7 with 16 of 128 (mma.sync 6.67 and 6.46; PyTorch's flash 7.30 and 6.48).
#include "mamba/attention.cuh"
#include "mamba/fast_math.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/reductions.cuh"
#include "mamba/wgmma.cuh"

namespace mamba {

struct AttentionForwardParams {
    const void* q;
    const void* k;
    const void* v;
    void* y;
    float* log_sum_exp;  // or none
    long long q_stride;
    long long k_stride;
    long long v_stride;
    long long y_stride;
    long long log_sum_exp_stride;
    SequenceTable sequences;
    int head_size;
    float scale;
};

template <typename T, int kHead, int kDown>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_forward(const __grid_constant__ AttentionForwardParams p)
{
    constexpr int kWarpQueries = 16 * kDown;
    constexpr int kQueries = kAttentionThreads / 32 * kWarpQueries;
    constexpr int kKeys = 64;
    constexpr int kRowBytes = kHead * 2;
    constexpr int kTileBytes = kKeys * kRowBytes;
    constexpr int kSteps = kHead / 16;
    constexpr bool kHoldsQueries = kDown * kHead <= 128;

    extern __shared__ __align__(1024) char shared[];
    char* queries = shared;
    char* stages = shared + kQueries * kRowBytes;
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp_row = static_cast<int>(threadIdx.x) / 32 * kWarpQueries;
    int head = static_cast<int>(blockIdx.y);
    AttentionRows rows(p.sequences, gridDim.x - 1 - blockIdx.x, kQueries);
    if (rows.first >= rows.length) {
        return;
    }
    const T* q = static_cast<const T*>(p.q) + (rows.start + rows.first) * p.q_stride + head * kHead;
    const T* k = static_cast<const T*>(p.k) + rows.start * p.k_stride + head * kHead;
    const T* v = static_cast<const T*>(p.v) + rows.start * p.v_stride + head * kHead;

    auto bring = [&](int tile) {
        char* stage = stages + tile % 2 * (2 * kTileBytes);
        int left = rows.length - tile * kKeys;
        stage_tile<kHead, kKeys>(stage, k + static_cast<long long>(tile) * kKeys * p.k_stride, p.k_stride, left);
        stage_tile<kHead, kKeys>(stage + kTileBytes, v + static_cast<long long>(tile) * kKeys * p.v_stride, p.v_stride, left);
    };
    wait_for_earlier_grids();
    stage_tile<kHead, kQueries>(queries, q, p.q_stride, rows.length - rows.first);
    bring(0);
    async_commit();

    int query_place = rows_of_left<kHead>(warp_row);
    int key_place = rows_of_right<kHead>(0);
    int value_place = rows_of_left<kHead>(0);
    unsigned int held[kHoldsQueries ? kSteps : 1][kDown][4];
    if (kHoldsQueries) {
        async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int step = 0; step < (kHoldsQueries ? kSteps : 0); ++step) {
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
                load_matrices(held[step][i], queries + (query_place ^ (step * 32)) + i * 16 * kRowBytes);
            }
        }
    }

    float sums[kDown][kHead / 8][4] = {};
    float largest[kDown][2];
    float total[kDown][2] = {};
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
        largest[i][0] = largest[i][1] = minus_infinity();
    }
    float factor = p.scale * kLog2E;
    int first_query = rows.first + warp_row;
    int tiles = (min(rows.first + kQueries, rows.length) + kKeys - 1) / kKeys;
    for (int tile = 0; tile < tiles; ++tile) {
        async_wait<0>();
        __syncthreads();
        if (tile + 1 < tiles) {
            bring(tile + 1);
        }
        async_commit();
        int first_key = tile * kKeys;
        if (first_key >= first_query + kWarpQueries) {
            continue;
        }

        const char* keys = stages + tile % 2 * (2 * kTileBytes);
        float scores[kDown][kKeys / 8][4] = {};
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            unsigned int loaded[kDown][4];
            if (!kHoldsQueries) {
#pragma unroll
                for (int i = 0; i < kDown; ++i) {
                    load_matrices(loaded[i], queries + (query_place ^ (step * 32)) + i * 16 * kRowBytes);
                }
            }
#pragma unroll
            for (int n = 0; n < kKeys / 8; n += 2) {
                unsigned int both[4];
                load_matrices(both, keys + (key_place ^ (step * 32)) + n * 8 * kRowBytes);
#pragma unroll
                for (int i = 0; i < kDown; ++i) {
                    multiply_both<T>(&scores[i][n], kHoldsQueries ? held[kHoldsQueries ? step : 0][i] : loaded[i], both);
                }
            }
        }

        // Keys past the sequence's end lie behind every query of it too.
        if (first_key + kKeys > first_query + 1) {
            int behind = first_query + lane / 4 - first_key - lane % 4 * 2;
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
                leave_out_later_keys(scores[i], behind + i * 16);
            }
        }

        float now[kDown][2];
        bool is_larger = false;
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float most = largest[i][half];
#pragma unroll
                for (int n = 0; n < kKeys / 8; ++n) {
                    most = fmaxf(most, fmaxf(scores[i][n][2 * half], scores[i][n][2 * half + 1]));
                }
                most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 1));
                now[i][half] = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 2));
                is_larger = is_larger || now[i][half] > largest[i][half];
            }
        }
        if (__any_sync(kAllLanes, is_larger)) {
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float shrunk = exp2_approx((largest[i][half] - now[i][half]) * factor);
                    largest[i][half] = now[i][half];
                    total[i][half] *= shrunk;
#pragma unroll
                    for (int n = 0; n < kHead / 8; ++n) {
                        sums[i][n][2 * half] *= shrunk;
                        sums[i][n][2 * half + 1] *= shrunk;
                    }
                }
            }
        }
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float offset = largest[i][half] * factor;
#pragma unroll
                for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
                    for (int e = 2 * half; e < 2 * half + 2; ++e) {
                        scores[i][n][e] = exp2_approx(fmaf(scores[i][n][e], factor, -offset));
                        total[i][half] += scores[i][n][e];
                    }
                }
            }
        }

        const char* values = keys + kTileBytes;
#pragma unroll
        for (int step = 0; step < kKeys / 16; ++step) {
            unsigned int a[kDown][4];
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
                as_left<T>(&scores[i][2 * step], a[i]);
            }
#pragma unroll
            for (int n = 0; n < kHead / 8; n += 2) {
                unsigned int both[4];
                load_matrices_transposed(both, values + (value_place ^ (n * 16)) + step * 16 * kRowBytes);
#pragma unroll
                for (int i = 0; i < kDown; ++i) {
                    multiply_both<T>(&sums[i][n], a[i], both);
                }
            }
        }
    }

    let_next_grid_start();
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
        float inverse[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float all = total[i][half];
            all += __shfl_xor_sync(kAllLanes, all, 1);
            all += __shfl_xor_sync(kAllLanes, all, 2);
            inverse[half] = 1.0f / all;
            int query = first_query + i * 16 + half * 8 + lane / 4;
            if (p.log_sum_exp != nullptr && lane % 4 == 0 && query < rows.length) {
                p.log_sum_exp[head * p.log_sum_exp_stride + rows.start + query] = fmaf(largest[i][half], p.scale, logf(all));
            }
        }
        int row = first_query + i * 16;
        T* y = static_cast<T*>(p.y) + (rows.start + row) * p.y_stride + head * kHead;
        store_rows<kHead>(queries, warp_row + i * 16, sums[i], inverse[0], inverse[1], y, p.y_stride, rows.length - row);
    }
}

#if defined(MAMBA_HAS_WGMMA)
// Tensor cores by wgmma: two groups of four warps with 64 queries each, tiles of 128 keys. The scores of a tile are made while the values of the
// one before it are summed, and their weights while that goes on (FlashAttention-3: Shah et al., 2024, algorithm 2). Scores are a variable of
// their own in every step: one that lived on would be written while products are under way, and the compiler would end those first.
// Heads of 128 are staged as two halves of 64, as wide as a row that wgmma reads.
template <typename T, int kHead>
__global__ void __launch_bounds__(256, 1) attention_forward_wgmma(const __grid_constant__ AttentionForwardParams p)
{
    constexpr int kThreads = 256;
    constexpr int kQueries = 128;
    constexpr int kKeys = 128;
    constexpr int kTileBytes = kKeys * kHead * 2;

    extern __shared__ __align__(1024) char shared[];
    char* queries = shared;
    char* keys = queries + kQueries * kHead * 2;
    char* values = keys + 2 * kTileBytes;
    int lane = static_cast<int>(threadIdx.x) % 32;
    int group_row = static_cast<int>(threadIdx.x) / 128 * 64;
    int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
    int head = static_cast<int>(blockIdx.y);
    AttentionRows rows(p.sequences, gridDim.x - 1 - blockIdx.x, kQueries);
    if (rows.first >= rows.length) {
        return;
    }
    const T* q = static_cast<const T*>(p.q) + (rows.start + rows.first) * p.q_stride + head * kHead;
    const T* k = static_cast<const T*>(p.k) + rows.start * p.k_stride + head * kHead;
    const T* v = static_cast<const T*>(p.v) + rows.start * p.v_stride + head * kHead;
    int tiles = (min(rows.first + kQueries, rows.length) + kKeys - 1) / kKeys;

    auto bring_keys = [&](int tile) {
        if (tile < tiles) {
            const T* from = k + static_cast<long long>(tile) * kKeys * p.k_stride;
            stage_halves<kHead, kKeys, kThreads>(keys + tile % 2 * kTileBytes, from, p.k_stride, rows.length - tile * kKeys);
        }
    };
    auto bring_values = [&](int tile) {
        if (tile < tiles) {
            const T* from = v + static_cast<long long>(tile) * kKeys * p.v_stride;
            stage_halves<kHead, kKeys, kThreads>(values + tile % 2 * kTileBytes, from, p.v_stride, rows.length - tile * kKeys);
        }
    };
    wait_for_earlier_grids();
    stage_halves<kHead, kQueries, kThreads>(queries, q, p.q_stride, rows.length - rows.first);
    bring_keys(0);
    async_commit();
    bring_keys(1);
    bring_values(0);
    async_commit();

    float factor = p.scale * kLog2E;
    int query = rows.first + warp_row + lane / 4;
    float sums[kHead / 8][4] = {};
    unsigned int weights[kKeys / 16][4];
    float largest[2] = {minus_infinity(), minus_infinity()};
    float total[2] = {};
    float shrunk[2];

    using Scores = float[kKeys / 8][4];
    auto start_scores = [&](Scores& scores, int tile) {
        const char* tile_keys = keys + tile % 2 * kTileBytes;
#pragma unroll
        for (int step = 0; step < kHead / 16; ++step) {
            unsigned long long left = matrix_descriptor(queries + step / 4 * (kQueries * 128) + group_row * 128) + 2 * (step % 4);
            unsigned long long right = matrix_descriptor(tile_keys + step / 4 * (kKeys * 128)) + 2 * (step % 4);
            wgmma<T>(scores, left, right, step > 0);
        }
        wgmma_commit();
    };
    auto start_sums = [&](int tile) {
        unsigned long long right = row_descriptor(values + tile % 2 * kTileBytes, kKeys * 128);
#pragma unroll
        for (int step = 0; step < kKeys / 16; ++step) {
            wgmma_rows<T>(sums, weights[step], right + 128 * step);
        }
        wgmma_commit();
    };
    // Scores become weights, and `shrunk` what sums so far are to be multiplied by.
    auto weigh = [&](Scores& scores, int tile) {
        int first_key = tile * kKeys;
        if (first_key + kKeys > rows.first + warp_row + 1) {
            int behind = query - first_key - lane % 4 * 2;
            leave_out_later_keys(scores, behind);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float now = largest[half];
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
                now = fmaxf(now, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
            }
            now = fmaxf(now, __shfl_xor_sync(kAllLanes, now, 1));
            now = fmaxf(now, __shfl_xor_sync(kAllLanes, now, 2));
            shrunk[half] = exp2_approx((largest[half] - now) * factor);
            largest[half] = now;
            float offset = now * factor;
            float sum = 0;
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
                for (int e = 2 * half; e < 2 * half + 2; ++e) {
                    scores[n][e] = exp2_approx(fmaf(scores[n][e], factor, -offset));
                    sum += scores[n][e];
                }
            }
            total[half] = fmaf(total[half], shrunk[half], sum);
        }
    };
    auto narrow_weights = [&](const Scores& scores) {
#pragma unroll
        for (int step = 0; step < kKeys / 16; ++step) {
            as_left<T>(&scores[2 * step], weights[step]);
        }
    };

    async_wait<1>();
    async_proxy_fence();
    __syncthreads();
    wgmma_fence();
    {
        Scores scores = {};
        start_scores(scores, 0);
        wgmma_wait<0>();
        wgmma_done(scores);
        weigh(scores, 0);
        narrow_weights(scores);
    }
    for (int tile = 0; tile + 1 < tiles; ++tile) {
        async_wait<0>();
        async_proxy_fence();
        __syncthreads();
        Scores scores = {};
        wgmma_fence();
        start_scores(scores, tile + 1);
        start_sums(tile);
        bring_keys(tile + 2);
        bring_values(tile + 1);
        async_commit();
        wgmma_wait<1>();
        wgmma_done(scores);
        weigh(scores, tile + 1);
        wgmma_wait<0>();
        wgmma_done(sums);
#pragma unroll
        for (int n = 0; n < kHead / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                sums[n][e] *= shrunk[e / 2];
            }
        }
        narrow_weights(scores);
    }
    async_wait<0>();
    async_proxy_fence();
    __syncthreads();
    wgmma_fence();
    start_sums(tiles - 1);
    wgmma_wait<0>();
    wgmma_done(sums);

    let_next_grid_start();
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float all = total[half];
        all += __shfl_xor_sync(kAllLanes, all, 1);
        all += __shfl_xor_sync(kAllLanes, all, 2);
        inverse[half] = 1.0f / all;
        if (p.log_sum_exp != nullptr && lane % 4 == 0 && query + half * 8 < rows.length) {
            p.log_sum_exp[head * p.log_sum_exp_stride + rows.start + query + half * 8] = fmaf(largest[half], p.scale, logf(all));
        }
    }
    int row = rows.first + warp_row;
    T* y = static_cast<T*>(p.y) + (rows.start + row) * p.y_stride + head * kHead;
#pragma unroll
    for (int half = 0; half < kHead / 64; ++half) {
        char* place = queries + half * (kQueries * 128);
        store_rows<64>(place, warp_row, &sums[half * 8], inverse[0], inverse[1], y + half * 64, p.y_stride, rows.length - row);
    }
}
#endif

// A lane has one of 32 keys while scores are made, and every 32nd element of the head while they are used.
template <typename T>
__global__ void __launch_bounds__(kAttentionThreads) attention_forward_any(const __grid_constant__ AttentionForwardParams p)
{
    constexpr int kWarps = kAttentionThreads / 32;
    constexpr int kParts = kMaxHeadSize / 32;
    __shared__ float queries[kWarps][kMaxHeadSize];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp = static_cast<int>(threadIdx.x) / 32;
    int head_size = p.head_size;
    long long column = static_cast<long long>(blockIdx.y) * head_size;
    AttentionRows rows(p.sequences, gridDim.x - 1 - blockIdx.x, kWarps);
    int query = rows.first + warp;
    if (query >= rows.length) {
        return;
    }
    wait_for_earlier_grids();
    const T* q = static_cast<const T*>(p.q) + (rows.start + query) * p.q_stride + column;
    for (int d = lane; d < head_size; d += 32) {
        queries[warp][d] = to_float(q[d]);
    }
    __syncwarp();

    float sums[kParts] = {};
    float largest = minus_infinity();
    float total = 0;
    for (int first = 0; first <= query; first += 32) {
        float score = minus_infinity();
        if (first + lane <= query) {
            const T* k = static_cast<const T*>(p.k) + (rows.start + first + lane) * p.k_stride + column;
            score = 0;
            for (int d = 0; d < head_size; ++d) {
                score = fmaf(queries[warp][d], to_float(k[d]), score);
            }
            score *= p.scale;
        }
        float now = fmaxf(largest, warp_max(score));
        float shrunk = expf(largest - now);
        float weight = expf(score - now);
        total = fmaf(total, shrunk, warp_sum(weight));
        largest = now;
        int count = min(32, query + 1 - first);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
            sums[part] *= shrunk;
        }
        for (int i = 0; i < count; ++i) {
            float given = __shfl_sync(kAllLanes, weight, i);
            const T* v = static_cast<const T*>(p.v) + (rows.start + first + i) * p.v_stride + column;
#pragma unroll
            for (int part = 0; part < kParts; ++part) {
                if (part * 32 + lane < head_size) {
                    sums[part] = fmaf(given, to_float(v[part * 32 + lane]), sums[part]);
                }
            }
        }
    }

    T* y = static_cast<T*>(p.y) + (rows.start + query) * p.y_stride + column;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
        if (part * 32 + lane < head_size) {
            y[part * 32 + lane] = from_float<T>(sums[part] / total);
        }
    }
    if (lane == 0 && p.log_sum_exp != nullptr) {
        p.log_sum_exp[blockIdx.y * p.log_sum_exp_stride + rows.start + query] = largest + logf(total);
    }
}

}  // namespace mamba
