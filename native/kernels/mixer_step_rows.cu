// mixer_step_rows.cu: what stands between the two large projections of a block, for one token of each of many sequences.
//
//   u = silu(conv1d(x))   (low, B, C) = u scan_weight^T   delta = softplus(low delta_weight^T + delta_bias)
//   h = exp(delta A) h + delta u B   y = (C h + D u) silu(z)
//
//   x, z, u, y (rows, channels)   scan_weight (rank + 2 states, channels)   delta_weight (channels, rank)   conv_weight (kWidth, channels), fp32
//   A (states, channels)   D, delta_bias, conv_bias (1, channels)   states of convolution and scan as the updates of each have them
//   shares (row groups, shares, outputs, 8): of (low, B, C), a row group being 8 rows and outputs filled up to 16, fp32
//
// As in mixer_step.cu, for up to 4 rows, there are two kernels, since every channel needs all of u. With more rows tensor cores make the
// products, 16 outputs of the weights as the left matrix and 8 rows as the right one, and everything is read once:
//   mixer_rows_project   a block has a slice of the channels and 8 kRowGroups rows: their u, and the slice's sums of all outputs. The blocks of
//                        a cluster add up their sums through each other's shared memory, so that few shares are left for who comes next.
//   mixer_rows_advance   a block has 64 channels of 8 rows, a warp a row: adds up the shares, delta, the states, y
// What bounds them is the states, 8 bytes each, and 24 for a channel's convolution. All of them that a block has, and its weights, are on
// their way before it waits for the kernel before. What of it goes to shared memory lies in the places of the thread that reads it, so that no
// barrier stands between, and leaves registers to more blocks. More than three of the second kernel would spill theirs, which takes longer.
// As in linear_vector.cu the order of the 16 inputs that one product sums is free: a lane takes 8 neighbours for two products.
// Layer after layer and nothing else, on an H200, the two take 22 us a layer of 2.8b with 64 rows, and 7 us with 8. Asking for the states in
// the first kernel, by prefetches into the L2, is slower than none.
// Channels and rank are multiples of 8, rows and their parts start at multiples of 16 bytes.
#include "mamba/async_copy.cuh"
#include "mamba/causal_conv.cuh"
#include "mamba/cluster.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/mma.cuh"
#include "mamba/reductions.cuh"
#include "mamba/sequences.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct MixerRowsParams {
    const void* x;
    const void* z;
    const float* conv_weight;
    const float* conv_bias;  // or null
    const float* conv_state;
    float* next_conv_state;
    const void* scan_weight;
    const void* delta_weight;
    const float* delta_bias;
    const float* a;
    const float* d;
    const float* state;
    float* next_state;
    float* shares;
    void* u;
    void* y;  // may be u
    long long x_stride;  // strides in elements
    long long z_stride;
    long long conv_weight_stride;
    long long conv_state_stride;
    long long next_conv_state_stride;
    long long scan_weight_stride;
    long long delta_weight_stride;
    long long a_stride;
    long long state_stride;
    long long next_state_stride;
    long long u_stride;
    long long y_stride;
    SequenceTable sequences;
    int rows;
    int channels;
    int rank;
    int states;
    int slice;  // channels of a block of mixer_rows_project, a multiple of 32
    int share_count;
    int cluster;  // blocks of mixer_rows_project that add up together
};

constexpr int kRowsOfGroup = 8;
constexpr int kRowsTile = 16;   // outputs of a product
constexpr int kRowsPiece = 32;  // inputs of two products
constexpr int kRowsVec = 4;      // channels of a thread
constexpr int kRowsStates = 16;  // most
constexpr int kRowsShares = 4;   // most
constexpr int kRowsCluster = 8;  // usual
constexpr int kRowsTileBytes = kRowsTile * kRowsPiece * 2;  // of weights for two products
constexpr int kRowsRank = 192;   // most
constexpr int kRowsAdvanceWarps = kRowsOfGroup;
constexpr int kRowsAdvanceChannels = 64;
constexpr int kRowsAdvanceThreads = kRowsAdvanceWarps * kWarp;

__host__ __device__ constexpr int rows_parts(int whole, int part) { return (whole + part - 1) / part; }

// From a row of 16-bit elements to the next, in bytes: two rows of a right matrix, which are read at once, are in different banks.
__host__ __device__ constexpr int rows_pitch(int pieces) { return pieces * kRowsPiece * 2 + (pieces % 2 == 0 ? 64 : 0); }

// A lane's part of the weights for two products, 16 rows of 32.
template <typename T>
struct RowsWeights {
    Piece<16> halves[2];  // 8 inputs of a row, and of the eighth behind it

    // Into this lane's own places in shared memory, or zeros where there are none.
    static __device__ __forceinline__ void fetch(char* tile, const void* matrix, long long stride, int row, int rows, int column, int columns)
    {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const void* from = place(matrix, stride, row + half * 8, rows, column, columns);
            async_copy_16(tile + half * (kRowsTileBytes / 2) + lane() * 16, from != nullptr ? from : matrix, from != nullptr ? 16 : 0);
        }
    }

    __device__ __forceinline__ void take(const char* tile)
    {
        load_piece<Access::plain>(tile + lane() * 16, halves[0]);
        load_piece<Access::plain>(tile + kRowsTileBytes / 2 + lane() * 16, halves[1]);
    }

    // From memory.
    __device__ __forceinline__ void load(const void* matrix, long long stride, int row, int rows, int column, int columns)
    {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const void* from = place(matrix, stride, row + half * 8, rows, column, columns);
            if (from != nullptr) {
                load_piece<Access::read_once>(from, halves[half]);
            } else {
                halves[half] = {};
            }
        }
    }

    // Adds the products with 8 rows of the right matrix, of which this lane's part is in shared memory.
    __device__ __forceinline__ void multiply(float (&sums)[4], const char* right) const
    {
        Piece<16> rows;
        load_piece<Access::plain>(right, rows);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const unsigned int left[4] = {halves[0].words[2 * half], halves[1].words[2 * half], halves[0].words[2 * half + 1],
                halves[1].words[2 * half + 1]};
            const unsigned int both[2] = {rows.words[2 * half], rows.words[2 * half + 1]};
            multiply_accumulate<T>(sums, left, both);
        }
    }

private:
    static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kWarp; }

    static __device__ __forceinline__ const void* place(const void* matrix, long long stride, int row, int rows, int column, int columns)
    {
        row += lane() / 4;
        column += lane() % 4 * 8;
        return row < rows && column < columns ? static_cast<const T*>(matrix) + row * stride + column : nullptr;
    }
};

template <typename T, int kWidth, int kRowGroups>
__global__ void __launch_bounds__(640) mixer_rows_project(const __grid_constant__ MixerRowsParams p)
{
    extern __shared__ __align__(128) char shared[];
    int thread = static_cast<int>(threadIdx.x);
    int lane = thread % kWarp;
    int warp = thread / kWarp;
    int warps = static_cast<int>(blockDim.x) / kWarp;
    int outputs = p.rank + 2 * p.states;
    int tiles = rows_parts(outputs, kRowsTile);
    int pieces = p.slice / kRowsPiece;
    int pitch = rows_pitch(pieces);
    int group_bytes = kRowsOfGroup * pitch;
    int own = rows_parts(tiles * kRowsTile, p.cluster);  // outputs that a block adds up
    char* weights = shared;
    char* inner = weights + tiles * pieces * kRowsTileBytes;
    // (blocks of the cluster, row groups, own outputs, 8 rows)
    float2* received = reinterpret_cast<float2*>(inner + kRowGroups * group_bytes);
    int block = cluster_block();
    cluster_arrive();

    int first_channel = static_cast<int>(blockIdx.x) * p.slice;
    int first_group = static_cast<int>(blockIdx.y) * kRowGroups;
    for (int tile = warp; tile < tiles; tile += warps) {
        for (int piece = 0; piece < pieces; ++piece) {
            RowsWeights<T>::fetch(weights + (tile * pieces + piece) * kRowsTileBytes, p.scan_weight, p.scan_weight_stride, tile * kRowsTile,
                outputs, first_channel + piece * kRowsPiece, p.channels);
        }
    }
    async_commit();

    // A thread has four channels of one row of each group.
    int in_slice = thread % (p.slice / kRowsVec) * kRowsVec;
    int in_group = thread / (p.slice / kRowsVec);
    int channel = first_channel + in_slice;
    bool exists[kRowGroups];
    long long state_row[kRowGroups];
    ConvolutionWindow<T, kWidth, kRowsVec> windows[kRowGroups];
    if (channel < p.channels) {
        windows[0].load_parameters(
            p.conv_weight + channel, p.conv_weight_stride, p.conv_bias != nullptr ? p.conv_bias + channel : nullptr);
    }
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        int row = (first_group + group) * kRowsOfGroup + in_group;
        exists[group] = channel < p.channels && row < p.rows;
        if (group > 0) {
            windows[group] = windows[0];
        }
        if (exists[group]) {
            state_row[group] = static_cast<long long>(p.sequences.slot(row)) * (kWidth - 1);
        }
    }
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        if (exists[group]) {
            windows[group].load_state(p.conv_state + state_row[group] * p.conv_state_stride + channel, p.conv_state_stride);
        }
    }

#ifdef EARLY_PROJECT
    let_next_grid_start();
#endif
    wait_for_earlier_grids();
    let_next_grid_start();
    float x[kRowGroups][kRowsVec];
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        int row = (first_group + group) * kRowsOfGroup + in_group;
        if (exists[group]) {
            load(static_cast<const T*>(p.x) + row * p.x_stride + channel, x[group]);
        }
    }
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        int row = (first_group + group) * kRowsOfGroup + in_group;
        Stored<T, kRowsVec> u = {};
        if (exists[group]) {
            float values[kRowsVec];
            windows[group].step(x[group], true, values);
            narrow(values, u);
            store(static_cast<T*>(p.u) + row * p.u_stride + channel, u);
        }
        store(reinterpret_cast<T*>(inner + group * group_bytes + in_group * pitch) + in_slice, u);
    }
    async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int group = 0; group < kRowGroups; ++group) {
        if (exists[group]) {
            float* to = p.next_conv_state + state_row[group] * p.next_conv_state_stride + channel;
#pragma unroll
            for (int k = 0; k < kWidth - 1; ++k) {
                store(to + k * p.next_conv_state_stride, windows[group].history[k]);
            }
        }
    }

    bool others_have_started = false;
    const char* right = inner + lane / 4 * pitch + lane % 4 * 16;
    for (int tile = warp; tile < tiles; tile += warps) {
        float sums[kRowGroups][4] = {};
        for (int piece = 0; piece < pieces; ++piece) {
            RowsWeights<T> taken;
            taken.take(weights + (tile * pieces + piece) * kRowsTileBytes);
#pragma unroll
            for (int group = 0; group < kRowGroups; ++group) {
                taken.multiply(sums[group], right + group * group_bytes + piece * kRowsPiece * 2);
            }
        }
        if (!others_have_started) {
            cluster_wait();
            others_have_started = true;
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int output = tile * kRowsTile + half * 8 + lane / 4;
            int owner = output / own;
#pragma unroll
            for (int group = 0; group < kRowGroups; ++group) {
                float2* to = received + ((block * kRowGroups + group) * own + output - owner * own) * (kRowsOfGroup / 2) + lane % 4;
                store_in_block(to, owner, make_float2(sums[group][2 * half], sums[group][2 * half + 1]));
            }
        }
    }
    if (!others_have_started) {
        cluster_wait();
    }
    cluster_arrive();
    cluster_wait();

    int share = static_cast<int>(blockIdx.x) / p.cluster;
    for (int i = thread; i < kRowGroups * own * (kRowsOfGroup / 2); i += static_cast<int>(blockDim.x)) {
        int group = i / (own * (kRowsOfGroup / 2));
        int within = i - group * own * (kRowsOfGroup / 2);
        int output = block * own + within / (kRowsOfGroup / 2);
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll kRowsCluster
        for (int from = 0; from < p.cluster; ++from) {
            float2 other = received[(from * kRowGroups + group) * own * (kRowsOfGroup / 2) + within];
            sum.x += other.x;
            sum.y += other.y;
        }
        if (output < tiles * kRowsTile) {
            long long to = (static_cast<long long>(first_group + group) * p.share_count + share) * tiles * kRowsTile + output;
            reinterpret_cast<float2*>(p.shares)[to * (kRowsOfGroup / 2) + within % (kRowsOfGroup / 2)] = sum;
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowsAdvanceThreads, 3) mixer_rows_advance(const __grid_constant__ MixerRowsParams p)
{
    constexpr int kChannels = kRowsAdvanceChannels;
    constexpr int kGroups = kChannels / kRowsVec;
    constexpr int kParts = kWarp / kGroups;                // lanes that share the states of a channel
    constexpr int kStates = kRowsStates / kParts;          // of a lane, most
    constexpr int kTiles = kChannels / kRowsTile;          // of delta
    constexpr int kDotParts = kRowsAdvanceWarps / kTiles;  // warps that share the inputs of one
    constexpr int kPieces = rows_parts(kRowsRank / kRowsPiece, kDotParts);  // of a warp, most
    static_assert(kParts * kGroups == kWarp && kTiles * kDotParts == kRowsAdvanceWarps, "every lane and warp has its part");
    constexpr int kLowBytes = kRowsOfGroup * rows_pitch(kRowsRank / kRowsPiece);
    constexpr int kDeltaBytes = kDotParts * kRowsOfGroup * kChannels * 4;

    __shared__ __align__(16) uint4 kept[kStates][kRowsAdvanceThreads];  // states, each in the place of its thread
    __shared__ __align__(16) float rates[kRowsStates][kChannels];
    __shared__ __align__(16) float bias_and_skip[2][kChannels];
    __shared__ __align__(16) float2 scales[kRowsOfGroup][kRowsStates];  // B and C
    __shared__ __align__(128) char low[kLowBytes > kDeltaBytes ? kLowBytes : kDeltaBytes];  // then the parts of delta
    float(*deltas)[kRowsOfGroup][kChannels] = reinterpret_cast<float(*)[kRowsOfGroup][kChannels]>(low);
    int thread = static_cast<int>(threadIdx.x);
    int lane = thread % kWarp;
    int warp = thread / kWarp;
    int outputs = p.rank + 2 * p.states;
    int pieces = rows_parts(p.rank, kRowsPiece);
    int pitch = rows_pitch(pieces);

    int first_channel = static_cast<int>(blockIdx.x) * kChannels;
    int row_group = static_cast<int>(blockIdx.y);
    int row = row_group * kRowsOfGroup + warp;
    int part = lane / kGroups;
    int in_block = lane % kGroups * kRowsVec;
    int channel = first_channel + in_block;
    bool exists = channel < p.channels && row < p.rows;

    long long state_row = exists ? static_cast<long long>(p.sequences.slot(row)) * p.states : 0;
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
        int n = part + k * kParts;
        if (exists && n < p.states) {
            async_copy_16(&kept[k][thread], p.state + (state_row + n) * p.state_stride + channel, 16);
        }
    }
    int tile = warp % kTiles;
    int dot_part = warp / kTiles;
    RowsWeights<T> weights[kPieces];
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
        weights[piece].load(p.delta_weight, p.delta_weight_stride, first_channel + tile * kRowsTile, p.channels,
            (piece * kDotParts + dot_part) * kRowsPiece, p.rank);
    }
    for (int i = thread; i < (kRowsStates + 2) * kGroups; i += kRowsAdvanceThreads) {
        int n = i / kGroups - 2;
        int at = i % kGroups * kRowsVec;
        bool there = n < p.states && first_channel + at < p.channels;
        const float* from = n == -2 ? p.delta_bias : n == -1 ? p.d : p.a + n * p.a_stride;
        async_copy_16(n < 0 ? &bias_and_skip[n + 2][at] : &rates[n][at], there ? from + first_channel + at : p.a, there ? 16 : 0);
    }
    async_commit();
    // What is behind low in its last piece meets weights that are zero, and must be a number.
    for (int i = thread; i < kRowsOfGroup * (pieces * kRowsPiece - p.rank); i += kRowsAdvanceThreads) {
        reinterpret_cast<T*>(low + i % kRowsOfGroup * pitch)[p.rank + i / kRowsOfGroup] = T{};
    }

#ifdef EARLY_ADVANCE
    let_next_grid_start();
#endif
    wait_for_earlier_grids();
    let_next_grid_start();
    Stored<T, kRowsVec> stored_u = {};
    Stored<T, kRowsVec> stored_z = {};
    if (exists) {
        load(static_cast<const T*>(p.u) + row * p.u_stride + channel, stored_u);
        load(static_cast<const T*>(p.z) + row * p.z_stride + channel, stored_z);
    }
    // Four rows of an output at a time.
    int filled = rows_parts(outputs, kRowsTile) * kRowsTile;
    const float* shares = p.shares + static_cast<long long>(row_group) * p.share_count * filled * kRowsOfGroup;
#pragma unroll 1
    for (int i = thread; i < outputs * (kRowsOfGroup / 4); i += kRowsAdvanceThreads) {
        // All on their way at once.
        float share[kRowsShares][4];
#pragma unroll
        for (int k = 0; k < kRowsShares; ++k) {
            if (k < p.share_count) {
                load(shares + (static_cast<long long>(k) * filled * kRowsOfGroup + i * 4), share[k]);
            }
        }
#pragma unroll
        for (int k = 1; k < kRowsShares; ++k) {
            if (k < p.share_count) {
#pragma unroll
                for (int r = 0; r < 4; ++r) {
                    share[0][r] += share[k][r];
                }
            }
        }
        int output = i / (kRowsOfGroup / 4);
        int first_row = i % (kRowsOfGroup / 4) * 4;
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            if (output < p.rank) {
                reinterpret_cast<T*>(low + (first_row + r) * pitch)[output] = from_float<T>(share[0][r]);
            } else if (output < p.rank + p.states) {
                scales[first_row + r][output - p.rank].x = share[0][r];
            } else {
                scales[first_row + r][output - p.rank - p.states].y = share[0][r];
            }
        }
    }
    async_wait<0>();
    __syncthreads();

    float sums[4] = {};
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
        int column = (piece * kDotParts + dot_part) * kRowsPiece;
        if (column < p.rank) {
            weights[piece].multiply(sums, low + lane / 4 * pitch + column * 2 + lane % 4 * 16);
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        deltas[dot_part][lane % 4 * 2 + i % 2][tile * kRowsTile + lane / 4 + i / 2 * 8] = sums[i];
    }
    __syncthreads();

    float u[kRowsVec];
    float delta[kRowsVec];
    float delta_u[kRowsVec];
    float bias[kRowsVec];
    load(bias_and_skip[0] + in_block, bias);
    widen(stored_u, u);
#pragma unroll
    for (int i = 0; i < kRowsVec; ++i) {
        delta[i] = deltas[0][warp][in_block + i];
#pragma unroll
        for (int k = 1; k < kDotParts; ++k) {
            delta[i] += deltas[k][warp][in_block + i];
        }
        delta[i] = softplus_for<T>(delta[i] + bias[i]);
        delta_u[i] = delta[i] * u[i];
        delta[i] *= kLog2E;
    }
    float y[kRowsVec] = {};
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
        int n = part + k * kParts;
        if (exists && n < p.states) {
            float2 scale = scales[warp][n];
            float rate[kRowsVec];
            float h[kRowsVec];
            load(rates[n] + in_block, rate);
            load(reinterpret_cast<const float*>(&kept[k][thread]), h);
#pragma unroll
            for (int i = 0; i < kRowsVec; ++i) {
                h[i] = fmaf(exp2_for<T>(delta[i] * rate[i]), h[i], delta_u[i] * scale.x);
                y[i] = fmaf(h[i], scale.y, y[i]);
            }
            store(p.next_state + (state_row + n) * p.next_state_stride + channel, h);
        }
    }
#pragma unroll
    for (int distance = kGroups; distance < kWarp; distance *= 2) {
#pragma unroll
        for (int i = 0; i < kRowsVec; ++i) {
            y[i] += __shfl_xor_sync(kAllLanes, y[i], distance);
        }
    }
    if (exists && part == 0) {
        float z[kRowsVec];
        float skip[kRowsVec];
        widen(stored_z, z);
        load(bias_and_skip[1] + in_block, skip);
#pragma unroll
        for (int i = 0; i < kRowsVec; ++i) {
            y[i] = fmaf(skip[i], u[i], y[i]) * silu_for<T>(z[i]);
        }
        store(static_cast<T*>(p.y) + row * p.y_stride + channel, y);
    }
}

}  // namespace mamba
