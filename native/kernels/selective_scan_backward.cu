// selective_scan_backward.cu: the gradients of the selective scan (Mamba, section 3.3.2 and appendix D).
//
//   d  = softplus(delta + bias)      g = gy silu(z)
//   dh += g C          gC = sum of g h       gB = sum of dh d u      gA += dh decay h' d
//   gu = g D + d sum of dh B         gd = u sum of dh B + sum of dh decay h' A
//   dh = decay dh      gz = gy (C h + D u) silu'(z)
//
//   h' the state before the step, h after it; sums over channels in gB and gC, over states in gu and gd, over tokens in gA, gD and that
//   of the bias. Shapes as in selective_scan_forward.cu.
//
// States are never stored for all tokens: forward leaves them before every 16th (a checkpoint), and a block recomputes a tile of 16 steps
// from there into registers, then leads the gradient back through it. A block owns kChannels channels of a sequence and walks its tiles
// from the last to the first. Four states of a channel are a lane's, so kLanes = kStates / 4 lanes make a channel. A tile has three parts
// between two barriers of the block:
//
//   prepare   each thread takes a piece of the tile, loaded a tile ahead, and leaves (d, d u) and g in shared memory
//   walk      forward through 16 steps, all states kept; back through them; sums over states are sums over the lanes of a channel, sums
//             over channels first over those of a warp, both by transposing butterflies that leave each lane one sum
//   finish    the pieces again: what belongs to a token is put together and stored; the warps' shares of gB and gC are added up
//
// Nothing is added atomically: blocks leave their shares of gB and gC, and those over tokens, in memory, and partial_sums adds them in
// order, so results repeat bit for bit.
//
// Where batch x channels is too small to fill the card, a sequence is cut into chunks. The states need no pass of their own, since
// checkpoints give each chunk's first; ScanBackwardPart::chunk_gradients makes the gradient of each chunk's first state from zero at its
// end, selective_scan_chunks the gradients at all ends from those, and this kernel again the results.
//
// Walls: issue slots, with about 28 instructions a state and step, of which 7 are the sums over channels.
#include "mamba/fast_math.cuh"
#include "mamba/reductions.cuh"
#include "mamba/sequences.cuh"
#include "mamba/types.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct SelectiveScanBackwardParams {
    const void* u;
    const void* delta;
    const float* a;
    const void* b;
    const void* c;
    const float* d;           // or null
    const void* z;            // or null
    const float* delta_bias;  // or null
    const float* checkpoints;
    const void* grad_y;
    const float* grad_final_state;  // or null
    void* y;                        // or null, as all that follow
    void* grad_u;
    void* grad_delta;
    void* grad_z;
    float* grad_initial_state;
    float* b_shares;          // of gB: (parts, tokens, groups * states)
    float* c_shares;          // of gC
    float* parameter_shares;  // (shards, parameter rows, channels): gA, gD, that of the bias, gB and gC where they are constant
    float* delta_sums;        // of every chunk, (chunks of all sequences, channels); for chunk_gradients alone
    long long u_stride;
    long long delta_stride;
    long long a_stride;
    long long b_stride;
    long long c_stride;
    long long z_stride;
    long long checkpoint_stride;
    long long grad_y_stride;
    long long grad_final_stride;
    long long y_stride;
    long long grad_u_stride;
    long long grad_delta_stride;
    long long grad_z_stride;
    long long grad_initial_stride;
    long long tokens;
    SequenceTable sequences;
    long long chunk_length;  // steps
    int chunks;              // of a sequence; 1 for a scan in one piece, else gradients of states are those of chunks
    int shards;              // blocks of sequences, or chunks of all of them
    int channels;
    int group_channels;      // that share B and C
    int groups;
    int parts_of_group;      // blocks (here), or ranges of channels (selective_scan_backward_any), along the channels of a group
    int parameter_rows;
    int states;
    int delta_softplus;
};

// What a launch computes.
enum class ScanBackwardPart : int {
    whole = 0,
    chunk_gradients = 1,  // of each chunk's first state, from zero at its end, and the sum of d along it
};

// How a block is cut: 16 steps, which is how far checkpoints lie apart, and one thread for four states.
template <int kStates_, int kWarps_>
struct ScanBackwardShape {
    static constexpr int kStates = kStates_;
    static constexpr int kWarps = kWarps_;
    static constexpr int kSteps = kCheckpointSteps;
    static constexpr int kLaneStates = 4;
    static constexpr int kLanes = kStates / kLaneStates;
    static constexpr int kWarpChannels = 32 / kLanes;
    static constexpr int kChannels = kWarps * kWarpChannels;
    static constexpr int kThreads = kWarps * 32;

    // Pieces of a tile: kPiece channels of a step; a thread's pieces are of the same channels.
    static constexpr int kThreadElements = kChannels * kSteps / kThreads;
    static constexpr int kPiece = kThreadElements < 4 ? kThreadElements : 4;
    static constexpr int kRowPieces = kChannels / kPiece;
    static constexpr int kRoundSteps = kThreads / kRowPieces;
    static constexpr int kRounds = kSteps / kRoundSteps;
    static constexpr int kThreadMatrix = (kSteps * kStates + kThreads - 1) / kThreads;

    // Shared memory in floats.
    static constexpr int kSumPitch = kChannels + 8;
    static constexpr int kInputFloats = 2 * kSteps * kChannels;    // (d, d u), step by step
    static constexpr int kGradFloats = kSteps * kChannels;         // g
    static constexpr int kMatrixFloats = 2 * kSteps * kStates;     // B and C of a step, lane by lane
    static constexpr int kSumFloats = kSteps * kSumPitch;          // a sum over states
    static constexpr int kShareFloats = kWarps * kMatrixFloats;    // the warps' sums over channels
    static constexpr int kOwnFloats = 2 * kPiece * kThreads;       // a thread's sums over tokens, of D and of the bias
    static constexpr int kSharedBytes = 4 * (kInputFloats + kGradFloats + kMatrixFloats + 3 * kSumFloats + kShareFloats + kOwnFloats);

    static_assert(kStates % kLaneStates == 0 && 32 % kLanes == 0 && kSteps % kLanes == 0 && kThreads % kRowPieces == 0, "");
};

template <typename Shape>
struct ScanBackwardMemory {
    float2* inputs;
    float* grads;
    float* matrices;
    float* y;
    float* through_b;
    float* through_decay;
    float* shares;
    float* own;

    __device__ __forceinline__ explicit ScanBackwardMemory(float* shared)
        : inputs(reinterpret_cast<float2*>(shared))
        , grads(shared + Shape::kInputFloats)
        , matrices(grads + Shape::kGradFloats)
        , y(matrices + Shape::kMatrixFloats)
        , through_b(y + Shape::kSumFloats)
        , through_decay(through_b + Shape::kSumFloats)
        , shares(through_decay + Shape::kSumFloats)
        , own(shares + Shape::kShareFloats)
    {
    }
};

// The elementwise functions and their slopes, as accurate as an output of type T can show.
template <typename T>
__device__ __forceinline__ float sigmoid_for(float x)
{
    return sizeof(T) == sizeof(float) ? sigmoid(x) : sigmoid_16(x);
}

template <typename T>
__device__ __forceinline__ float delta_slope(float raw, bool softplus)
{
    return !softplus || raw > 20.0f ? 1.0f : sigmoid_for<T>(raw);
}

// One step's share of what belongs to a token, and the sums over tokens that it adds to.
template <typename T>
struct ScanBackwardElement {
    float y;
    float grad_u;
    float grad_delta;
    float grad_z;

    __device__ __forceinline__ ScanBackwardElement(
        float u, float raw_delta, float z, float grad_y, float skip, bool gated, bool softplus, float sum_y, float sum_b, float sum_decay,
        float& grad_skip, float& grad_bias)
    {
        float delta = softplus ? softplus_for<T>(raw_delta) : raw_delta;
        float grad = grad_y;
        y = fmaf(skip, u, sum_y);
        grad_z = 0.0f;
        if (gated) {
            float gate = sigmoid_for<T>(z);
            float silu = z * gate;
            grad_z = grad_y * y * fmaf(silu, 1.0f - gate, gate);
            y *= silu;
            grad *= silu;
        }
        grad_u = fmaf(grad, skip, delta * sum_b);
        grad_delta = fmaf(u, sum_b, sum_decay * kLn2) * delta_slope<T>(raw_delta, softplus);
        grad_skip = fmaf(grad, u, grad_skip);
        grad_bias += grad_delta;
    }
};

// A thread's pieces of a matrix, tile after tile.
template <typename T, typename Shape>
struct PieceCursor {
    T* at;  // the thread's first piece of the present tile
    long long stride;

    __device__ __forceinline__ PieceCursor(T* matrix, long long row, long long row_stride, long long column)
        : at(matrix + row * row_stride + column), stride(row_stride)
    {
    }

    __device__ __forceinline__ T* round(int number) const { return at + number * Shape::kRoundSteps * stride; }

    __device__ __forceinline__ void back() { at -= Shape::kSteps * stride; }
};

template <typename T, typename Shape, ScanBackwardPart kPart, bool kAligned>
struct ScanBackwardPieces {
    static constexpr int kPiece = Shape::kPiece;
    static constexpr int kRounds = Shape::kRounds;
    static constexpr bool kWhole = kPart == ScanBackwardPart::whole;

    const SelectiveScanBackwardParams& p;
    int channel;     // in the block
    int count;       // of a piece's channels that exist
    int first_step;  // in the tile
    int first_channel;
    PieceCursor<const T, Shape> u_cursor;
    PieceCursor<const T, Shape> delta_cursor;
    PieceCursor<const T, Shape> z_cursor;
    PieceCursor<const T, Shape> grad_y_cursor;

    // Loads in flight.
    Stored<T, kPiece> u[kRounds];
    Stored<T, kPiece> delta[kRounds];
    Stored<T, kPiece> z[kRounds];
    Stored<T, kPiece> grad_y[kRounds];
    T b[Shape::kThreadMatrix];
    T c[Shape::kThreadMatrix];

    __device__ __forceinline__ ScanBackwardPieces(const SelectiveScanBackwardParams& params, long long row, int block_channel, int channels)
        : p(params)
        , channel(static_cast<int>(threadIdx.x) % Shape::kRowPieces * kPiece)
        , count(channels - channel < 0 ? 0 : channels - channel < kPiece ? channels - channel : kPiece)
        , first_step(static_cast<int>(threadIdx.x) / Shape::kRowPieces)
        , first_channel(block_channel + channel)
        , u_cursor(static_cast<const T*>(p.u), row + first_step, p.u_stride, first_channel)
        , delta_cursor(static_cast<const T*>(p.delta), row + first_step, p.delta_stride, first_channel)
        , z_cursor(static_cast<const T*>(p.z), row + first_step, p.z_stride, first_channel)
        , grad_y_cursor(static_cast<const T*>(p.grad_y), row + first_step, p.grad_y_stride, first_channel)
    {
    }

    __device__ __forceinline__ int step(int round) const { return first_step + round * Shape::kRoundSteps; }

    __device__ __forceinline__ float of_channel(const float* vector, int i) const
    {
        return i < count && vector != nullptr ? vector[first_channel + i] : 0.0f;
    }

    // Starts the loads of the tile that the cursors are at, of which `steps` steps exist, and moves them on.
    __device__ __forceinline__ void load(int steps, long long row, int group)
    {
#pragma unroll
        for (int round = 0; round < kRounds; ++round) {
            int there = step(round) < steps ? count : 0;
            if constexpr (kWhole) {
                load_row<kAligned>(u_cursor.round(round), there, u[round]);
            }
            load_row<kAligned>(delta_cursor.round(round), there, delta[round]);
            load_row<kAligned>(grad_y_cursor.round(round), there, grad_y[round]);
            if (p.z != nullptr) {
                load_row<kAligned>(z_cursor.round(round), there, z[round]);
            }
        }
        u_cursor.back();
        delta_cursor.back();
        grad_y_cursor.back();
        z_cursor.back();
#pragma unroll
        for (int i = 0; i < Shape::kThreadMatrix; ++i) {
            int at = i * Shape::kThreads + static_cast<int>(threadIdx.x);
            bool there = at / Shape::kStates < steps;
            long long column = static_cast<long long>(group) * Shape::kStates + at % Shape::kStates;
            if constexpr (kWhole) {
                b[i] = there ? static_cast<const T*>(p.b)[(row + at / Shape::kStates) * p.b_stride + column] : from_float<T>(0.0f);
            }
            c[i] = there ? static_cast<const T*>(p.c)[(row + at / Shape::kStates) * p.c_stride + column] : from_float<T>(0.0f);
        }
    }

    // Leaves the loaded tile in shared memory as the walk reads it. Steps past the end get d = 0 and g = 0: they change nothing.
    __device__ __forceinline__ void prepare(int steps, const ScanBackwardMemory<Shape>& memory) const
    {
        bool softplus = p.delta_softplus != 0;
#pragma unroll
        for (int round = 0; round < kRounds; ++round) {
            float u_values[kPiece];
            float delta_values[kPiece];
            float grad_values[kPiece];
            if constexpr (kWhole) {
                widen(u[round], u_values);
            }
            widen(delta[round], delta_values);
            widen(grad_y[round], grad_values);
            if (p.z != nullptr) {
                float z_values[kPiece];
                widen(z[round], z_values);
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    grad_values[i] *= silu_for<T>(z_values[i]);
                }
            }
            bool there = step(round) < steps;
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                float value = delta_values[i] + of_channel(p.delta_bias, i);
                value = softplus ? softplus_for<T>(value) : value;
                value = there ? value : 0.0f;
                int at = step(round) * Shape::kChannels + channel + i;
                memory.inputs[at] = float2{value, kWhole ? value * u_values[i] : 0.0f};
                memory.grads[at] = there ? grad_values[i] : 0.0f;
            }
        }
#pragma unroll
        for (int i = 0; i < Shape::kThreadMatrix; ++i) {
            int at = i * Shape::kThreads + static_cast<int>(threadIdx.x);
            if (at < Shape::kSteps * Shape::kStates) {
                int n = at % Shape::kStates;
                int to = at / Shape::kStates * 2 * Shape::kStates + n / 4 * 8 + n % 4;
                if constexpr (kWhole) {
                    memory.matrices[to] = to_float(b[i]);
                }
                memory.matrices[to + 4] = to_float(c[i]);
            }
        }
    }

    // Puts together what belongs to the tokens of a tile, and stores it.
    __device__ __forceinline__ void finish(int steps, long long row, const ScanBackwardMemory<Shape>& memory) const
    {
        // The tile's own loads again, which lie in a cache: registers are what the walk is short of.
#pragma unroll
        for (int round = 0; round < kRounds; ++round) {
            if (count == 0 || step(round) >= steps) {
                continue;
            }
            long long token = row + step(round);
            float u_values[kPiece];
            float delta_values[kPiece];
            float z_values[kPiece];
            float grad_values[kPiece];
            load_row<kAligned>(static_cast<const T*>(p.u) + token * p.u_stride + first_channel, count, u_values);
            load_row<kAligned>(static_cast<const T*>(p.delta) + token * p.delta_stride + first_channel, count, delta_values);
            load_row<kAligned>(static_cast<const T*>(p.grad_y) + token * p.grad_y_stride + first_channel, count, grad_values);
            if (p.z != nullptr) {
                load_row<kAligned>(static_cast<const T*>(p.z) + token * p.z_stride + first_channel, count, z_values);
            }
            float y[kPiece];
            float grad_u[kPiece];
            float grad_delta[kPiece];
            float grad_z[kPiece];
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                int at = step(round) * Shape::kSumPitch + channel + i;
                float* own = memory.own + 2 * i * Shape::kThreads + static_cast<int>(threadIdx.x);
                ScanBackwardElement<T> element(
                    u_values[i], delta_values[i] + of_channel(p.delta_bias, i), p.z != nullptr ? z_values[i] : 0.0f, grad_values[i],
                    of_channel(p.d, i), p.z != nullptr, p.delta_softplus != 0, memory.y[at], memory.through_b[at],
                    memory.through_decay[at], own[0], own[Shape::kThreads]);
                y[i] = element.y;
                grad_u[i] = element.grad_u;
                grad_delta[i] = element.grad_delta;
                grad_z[i] = element.grad_z;
            }
            store_where(p.y, token, p.y_stride, y);
            store_where(p.grad_u, token, p.grad_u_stride, grad_u);
            store_where(p.grad_delta, token, p.grad_delta_stride, grad_delta);
            store_where(p.grad_z, token, p.grad_z_stride, grad_z);
        }
    }

    __device__ __forceinline__ void store_where(void* matrix, long long token, long long stride, const float (&values)[kPiece]) const
    {
        if (matrix != nullptr) {
            store_row<kAligned>(static_cast<T*>(matrix) + token * stride + first_channel, count, values);
        }
    }
};

// A lane's four states of a channel.
template <typename T, typename Shape, ScanBackwardPart kPart>
struct ScanBackwardLane {
    static constexpr int kSteps = Shape::kSteps;
    static constexpr int kLanes = Shape::kLanes;
    static constexpr int kWarpChannels = Shape::kWarpChannels;

    int lane;     // of the channel
    int number;   // of the channel in the warp
    int channel;  // in the block
    bool exists;
    float a[4];
    float grad[4];
    float grad_a[4];
    float before[4];  // the state before the tile
    float delta_sum;

    __device__ __forceinline__ ScanBackwardLane(const SelectiveScanBackwardParams& p, int block_channel, int channels)
        : lane(static_cast<int>(threadIdx.x) % kLanes)
        , number(static_cast<int>(threadIdx.x) % 32 / kLanes)
        , channel(static_cast<int>(threadIdx.x) / kLanes)
        , exists(channel < channels)
        , delta_sum(0.0f)
    {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            a[n] = exists ? p.a[(4 * lane + n) * p.a_stride + block_channel + channel] * kLog2E : 0.0f;
            grad[n] = 0.0f;
            grad_a[n] = 0.0f;
            before[n] = 0.0f;
        }
    }

    // This lane's rows of a matrix of states, (slots * states, channels).
    __device__ __forceinline__ void load_states(const float* states, long long stride, long long row, int at, float (&to)[4]) const
    {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            to[n] = exists && states != nullptr ? states[(row + 4 * lane + n) * stride + at] : 0.0f;
        }
    }

    __device__ __forceinline__ void store_states(float* states, long long stride, long long row, int at, const float (&from)[4]) const
    {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            if (exists && states != nullptr) {
                states[(row + 4 * lane + n) * stride + at] = from[n];
            }
        }
    }

    // Leads the gradient back through a tile without asking for anything else.
    __device__ __forceinline__ void lead_back(const ScanBackwardMemory<Shape>& memory)
    {
#pragma unroll
        for (int step = kSteps - 1; step >= 0; --step) {
            float delta = memory.inputs[step * Shape::kChannels + channel].x;
            float g = memory.grads[step * Shape::kChannels + channel];
            float4 c = *reinterpret_cast<const float4*>(memory.matrices + step * 2 * Shape::kStates + 8 * lane + 4);
            float c_values[4] = {c.x, c.y, c.z, c.w};
            delta_sum += delta;
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                grad[n] = exp2_for<T>(delta * a[n]) * fmaf(c_values[n], g, grad[n]);
            }
        }
    }

    __device__ __forceinline__ void walk(const ScanBackwardMemory<Shape>& memory)
    {
        float states[kSteps][4];
        float h[4] = {before[0], before[1], before[2], before[3]};
        const float2* inputs = memory.inputs + channel;
        const float* grads = memory.grads + channel;
        const float* matrices = memory.matrices + 8 * lane;

#pragma unroll
        for (int start = 0; start < kSteps; start += kLanes) {
            float y[kLanes];
#pragma unroll
            for (int j = 0; j < kLanes; ++j) {
                int step = start + j;
                float2 input = inputs[step * Shape::kChannels];
                float4 b = *reinterpret_cast<const float4*>(matrices + step * 2 * Shape::kStates);
                float4 c = *reinterpret_cast<const float4*>(matrices + step * 2 * Shape::kStates + 4);
                float b_values[4] = {b.x, b.y, b.z, b.w};
                float c_values[4] = {c.x, c.y, c.z, c.w};
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    h[n] = fmaf(exp2_for<T>(input.x * a[n]), h[n], input.y * b_values[n]);
                    states[step][n] = h[n];
                    y[j] = n == 0 ? h[n] * c_values[n] : fmaf(h[n], c_values[n], y[j]);
                }
            }
            memory.y[(start + lane) * Shape::kSumPitch + channel] = lane_sums<kLanes, kLanes, 1>(y, lane);
        }

        float* shares = memory.shares + static_cast<int>(threadIdx.x) / 32 * Shape::kMatrixFloats;
#pragma unroll
        for (int start = kSteps - kLanes; start >= 0; start -= kLanes) {
            float through_b[kLanes];
            float through_decay[kLanes];
#pragma unroll
            for (int j = kLanes - 1; j >= 0; --j) {
                int step = start + j;
                float2 input = inputs[step * Shape::kChannels];
                float g = grads[step * Shape::kChannels];
                float4 b = *reinterpret_cast<const float4*>(matrices + step * 2 * Shape::kStates);
                float4 c = *reinterpret_cast<const float4*>(matrices + step * 2 * Shape::kStates + 4);
                float b_values[4] = {b.x, b.y, b.z, b.w};
                float c_values[4] = {c.x, c.y, c.z, c.w};
                float products[8];
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    float dh = fmaf(c_values[n], g, grad[n]);
                    products[n] = dh * input.y;
                    products[4 + n] = states[step][n] * g;
                    through_b[j] = n == 0 ? dh * b_values[n] : fmaf(dh, b_values[n], through_b[j]);
                    grad[n] = exp2_for<T>(input.x * a[n]) * dh;
                    float of_decay = grad[n] * (step == 0 ? before[n] : states[step == 0 ? 0 : step - 1][n]);
                    grad_a[n] = fmaf(input.x, of_decay, grad_a[n]);
                    through_decay[j] = n == 0 ? a[n] * of_decay : fmaf(a[n], of_decay, through_decay[j]);
                }
                leave_products(products, shares + step * 2 * Shape::kStates);
            }
            memory.through_b[(start + lane) * Shape::kSumPitch + channel] = lane_sums<kLanes, kLanes, 1>(through_b, lane);
            memory.through_decay[(start + lane) * Shape::kSumPitch + channel] = lane_sums<kLanes, kLanes, 1>(through_decay, lane);
        }
    }

    // The warp's sums over its channels of four products for gB and four for gC, as (gB, gC) of all states.
    __device__ __forceinline__ void leave_products(float (&products)[8], float* to) const
    {
        constexpr int kLeft = 8 > kWarpChannels ? 8 / kWarpChannels : 1;
        lane_sums<8, kWarpChannels, kLanes>(products, number);
        // Where a warp has more channels than there are products, several lanes are left the same sum.
        constexpr int kCopies = kWarpChannels > 8 ? kWarpChannels / 8 : 1;
        int first = number / kCopies * kLeft;
        if (number % kCopies == 0) {
#pragma unroll
            for (int i = 0; i < kLeft; ++i) {
                int product = first + i;
                to[product / 4 * Shape::kStates + 4 * lane + product % 4] = products[i];
            }
        }
    }
};

template <typename T, typename Shape, ScanBackwardPart kPart, bool kAligned>
__global__ void __launch_bounds__(Shape::kThreads, 2) selective_scan_backward(const __grid_constant__ SelectiveScanBackwardParams p)
{
    extern __shared__ __align__(16) float shared[];
    constexpr bool kWhole = kPart == ScanBackwardPart::whole;
    ScanBackwardMemory<Shape> memory(shared);
    int part = static_cast<int>(blockIdx.x) % p.parts_of_group;
    int group = static_cast<int>(blockIdx.x) / p.parts_of_group;
    int channel_in_group = part * Shape::kChannels;
    int first_channel = group * p.group_channels + channel_in_group;
    int left = p.group_channels - channel_in_group;
    int channels = left < Shape::kChannels ? left : Shape::kChannels;
    int thread = static_cast<int>(threadIdx.x);
    int shard = static_cast<int>(blockIdx.y);

    ScanBackwardLane<T, Shape, kPart> lane(p, first_channel, channels);
    int at = first_channel + lane.channel;
    for (int i = thread; kWhole && i < Shape::kOwnFloats; i += Shape::kThreads) {
        memory.own[i] = 0.0f;
    }

    int first_sequence = p.chunks > 1 ? shard / p.chunks : static_cast<int>(static_cast<long long>(p.sequences.count) * shard / p.shards);
    int last_sequence =
        p.chunks > 1 ? first_sequence + 1 : static_cast<int>(static_cast<long long>(p.sequences.count) * (shard + 1) / p.shards);
    for (int sequence = first_sequence; sequence < last_sequence; ++sequence) {
        long long first_row = p.sequences.start(sequence);
        long long last_row = p.sequences.end(sequence);
        long long checkpoint = p.sequences.checkpoint(sequence);
        long long state_row = static_cast<long long>(p.sequences.slot(sequence)) * Shape::kStates;
        if (p.chunks > 1) {
            // A chunk is a sequence of its own, whose gradients of states lie by its number.
            long long start = shard % p.chunks * p.chunk_length;
            first_row += start;
            checkpoint += start / Shape::kSteps;
            last_row = first_row + p.chunk_length < last_row ? first_row + p.chunk_length : last_row;
            state_row = static_cast<long long>(shard) * Shape::kStates;
        }
        long long tiles = first_row < last_row ? (last_row - first_row + Shape::kSteps - 1) / Shape::kSteps : 0;
        long long row = first_row + (tiles - 1) * Shape::kSteps;
        int steps = tiles > 0 ? static_cast<int>(last_row - row) : 0;
        if (kWhole) {
            lane.load_states(p.grad_final_state, p.grad_final_stride, state_row, at, lane.grad);
        }
        ScanBackwardPieces<T, Shape, kPart, kAligned> pieces(p, row, first_channel, channels);
        if (tiles > 0) {
            pieces.load(steps, row, group);
        }
        for (long long tile = tiles - 1; tile >= 0; --tile) {
            if constexpr (kWhole) {
                lane.load_states(p.checkpoints, p.checkpoint_stride, (checkpoint + tile) * Shape::kStates, at, lane.before);
            }
            pieces.prepare(steps, memory);
            if (tile > 0) {
                pieces.load(Shape::kSteps, row - Shape::kSteps, group);
            }
            __syncthreads();
            if constexpr (kWhole) {
                lane.walk(memory);
            } else {
                lane.lead_back(memory);
            }
            __syncthreads();
            if constexpr (kWhole) {
                pieces.finish(steps, row, memory);
                // gB and gC of the tile, over the channels of the block: the warps' sums in order.
                for (int i = thread; i < Shape::kMatrixFloats; i += Shape::kThreads) {
                    int step = i / (2 * Shape::kStates);
                    int state = i % Shape::kStates;
                    float* to = i / Shape::kStates % 2 == 0 ? p.b_shares : p.c_shares;
                    if (step < steps && to != nullptr) {
                        float sum = 0.0f;
#pragma unroll
                        for (int warp = 0; warp < Shape::kWarps; ++warp) {
                            sum += memory.shares[warp * Shape::kMatrixFloats + i];
                        }
                        to[((part * p.tokens + row + step) * p.groups + group) * Shape::kStates + state] = sum;
                    }
                }
            }
            row -= Shape::kSteps;
            steps = Shape::kSteps;
        }
        lane.store_states(p.grad_initial_state, p.grad_initial_stride, state_row, at, lane.grad);
        if (!kWhole && lane.exists && lane.lane == 0) {
            p.delta_sums[static_cast<long long>(shard) * p.channels + at] = lane.delta_sum;
        }
        // What the last tile left in shared memory has been read before the next sequence writes there.
        __syncthreads();
    }

    if constexpr (kWhole) {
        if (p.parameter_shares == nullptr) {
            return;
        }
        float* shares = p.parameter_shares + static_cast<long long>(shard) * p.parameter_rows * p.channels;
        lane.store_states(shares, p.channels, 0, at, lane.grad_a);
        for (int i = thread; i < 2 * Shape::kChannels; i += Shape::kThreads) {
            int channel = i % Shape::kChannels;
            int which = i / Shape::kChannels;
            if (channel < channels) {
                float sum = 0.0f;
                for (int step = 0; step < Shape::kRoundSteps; ++step) {
                    int owner = step * Shape::kRowPieces + channel / Shape::kPiece;
                    sum += memory.own[(2 * (channel % Shape::kPiece) + which) * Shape::kThreads + owner];
                }
                shares[static_cast<long long>(Shape::kStates + which) * p.channels + first_channel + channel] = sum;
            }
        }
    }
}

// Every state size up to 32 * kLaneStates, and B or C that belong to the channel and not to the token: a warp a range of channels, one
// after the other, its lanes the states; two lanes have the values of a step. A warp's shares of gB and gC are its own, so that it may add
// to them channel by channel. For what the kernel above does not take; slower.
template <typename T, int kLaneStates, bool kConstantB, bool kConstantC>
__global__ void __launch_bounds__(128, 3) selective_scan_backward_any(const __grid_constant__ SelectiveScanBackwardParams p)
{
    constexpr int kSteps = kCheckpointSteps;
    extern __shared__ __align__(16) float shared[];
    int lane = static_cast<int>(threadIdx.x) % 32;
    int warp = static_cast<int>(threadIdx.x) / 32;
    int range = static_cast<int>(blockIdx.x) * (static_cast<int>(blockDim.x) / 32) + warp;
    if (range >= p.parts_of_group * p.groups) {
        return;
    }
    int part = range % p.parts_of_group;
    int group = range / p.parts_of_group;
    int shard = static_cast<int>(blockIdx.y);
    int states = p.states;
    int columns = p.groups * states;
    // The states of a tile, before the first step and after each.
    float* kept = shared + warp * (kSteps + 1) * 32 * kLaneStates + lane;
    int own_step = lane / 2;

    int first_channel = static_cast<int>(static_cast<long long>(p.group_channels) * part / p.parts_of_group);
    int last_channel = static_cast<int>(static_cast<long long>(p.group_channels) * (part + 1) / p.parts_of_group);
    for (int channel_in_group = first_channel; channel_in_group < last_channel; ++channel_in_group) {
        int channel = group * p.group_channels + channel_in_group;
        bool first = channel_in_group == first_channel;
        float bias = p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f;
        float skip = p.d != nullptr ? p.d[channel] : 0.0f;
        float grad_skip = 0.0f;
        float grad_bias = 0.0f;
        float a[kLaneStates];
        float b[kLaneStates];
        float c[kLaneStates];
        float grad_a[kLaneStates];
        float grad_b[kLaneStates];
        float grad_c[kLaneStates];
#pragma unroll
        for (int k = 0; k < kLaneStates; ++k) {
            int n = 32 * k + lane;
            bool exists = n < states;
            a[k] = exists ? p.a[n * p.a_stride + channel] * kLog2E : 0.0f;
            b[k] = exists && kConstantB ? static_cast<const float*>(p.b)[n * p.b_stride + channel] : 0.0f;
            c[k] = exists && kConstantC ? static_cast<const float*>(p.c)[n * p.c_stride + channel] : 0.0f;
            grad_a[k] = 0.0f;
            grad_b[k] = 0.0f;
            grad_c[k] = 0.0f;
        }

        int first_sequence = static_cast<int>(static_cast<long long>(p.sequences.count) * shard / p.shards);
        int last_sequence = static_cast<int>(static_cast<long long>(p.sequences.count) * (shard + 1) / p.shards);
        for (int sequence = first_sequence; sequence < last_sequence; ++sequence) {
            long long first_row = p.sequences.start(sequence);
            long long last_row = p.sequences.end(sequence);
            long long checkpoint = p.sequences.checkpoint(sequence);
            long long state_row = static_cast<long long>(p.sequences.slot(sequence)) * states;
            float grad[kLaneStates];
#pragma unroll
            for (int k = 0; k < kLaneStates; ++k) {
                int n = 32 * k + lane;
                grad[k] = n < states && p.grad_final_state != nullptr
                    ? p.grad_final_state[(state_row + n) * p.grad_final_stride + channel]
                    : 0.0f;
            }

            for (long long tile = (last_row - first_row - 1) / kSteps; tile >= 0; --tile) {
                long long row = first_row + tile * kSteps;
                int steps = last_row - row < kSteps ? static_cast<int>(last_row - row) : kSteps;
                bool own = own_step < steps;
                long long token = row + own_step;
                float own_u = own ? to_float(static_cast<const T*>(p.u)[token * p.u_stride + channel]) : 0.0f;
                float own_raw = own ? to_float(static_cast<const T*>(p.delta)[token * p.delta_stride + channel]) + bias : 0.0f;
                float own_delta = own ? (p.delta_softplus ? softplus_for<T>(own_raw) : own_raw) : 0.0f;
                float own_z = own && p.z != nullptr ? to_float(static_cast<const T*>(p.z)[token * p.z_stride + channel]) : 0.0f;
                float own_grad_y = own ? to_float(static_cast<const T*>(p.grad_y)[token * p.grad_y_stride + channel]) : 0.0f;
                float own_grad = own_grad_y;
                if (p.z != nullptr) {
                    own_grad *= silu_for<T>(own_z);
                }
                float own_delta_u = own_delta * own_u;

                float sums[kSteps];
#pragma unroll
                for (int k = 0; k < kLaneStates; ++k) {
                    int n = 32 * k + lane;
                    kept[32 * k] = n < states ? p.checkpoints[((checkpoint + tile) * states + n) * p.checkpoint_stride + channel] : 0.0f;
                }
                // Loads B and C of a step where they belong to the token.
                auto load_matrices = [&](int step) {
#pragma unroll
                    for (int k = 0; k < kLaneStates; ++k) {
                        int n = 32 * k + lane;
                        long long column = group * states + n;
                        bool exists = n < states;
                        if (!kConstantB) {
                            b[k] = exists ? to_float(static_cast<const T*>(p.b)[(row + step) * p.b_stride + column]) : 0.0f;
                        }
                        if (!kConstantC) {
                            c[k] = exists ? to_float(static_cast<const T*>(p.c)[(row + step) * p.c_stride + column]) : 0.0f;
                        }
                    }
                };
#pragma unroll
                for (int step = 0; step < kSteps; ++step) {
                    sums[step] = 0.0f;
                    if (step < steps) {
                        float delta = __shfl_sync(kAllLanes, own_delta, 2 * step);
                        float delta_u = __shfl_sync(kAllLanes, own_delta_u, 2 * step);
                        load_matrices(step);
                        const float* from = kept + step * 32 * kLaneStates;
                        float* to = kept + (step + 1) * 32 * kLaneStates;
#pragma unroll
                        for (int k = 0; k < kLaneStates; ++k) {
                            float h = fmaf(exp2_for<T>(delta * a[k]), from[32 * k], delta_u * b[k]);
                            to[32 * k] = h;
                            sums[step] = fmaf(h, c[k], sums[step]);
                        }
                    }
                }
                float sum_y = lane_sums<kSteps, 32, 1>(sums, lane);

                float decay_sums[kSteps];
#pragma unroll
                for (int step = kSteps - 1; step >= 0; --step) {
                    sums[step] = 0.0f;
                    decay_sums[step] = 0.0f;
                    if (step < steps) {
                        float delta = __shfl_sync(kAllLanes, own_delta, 2 * step);
                        float delta_u = __shfl_sync(kAllLanes, own_delta_u, 2 * step);
                        float g = __shfl_sync(kAllLanes, own_grad, 2 * step);
                        load_matrices(step);
                        const float* h_before = kept + step * 32 * kLaneStates;
                        const float* h_after = kept + (step + 1) * 32 * kLaneStates;
                        long long shares = (part * p.tokens + row + step) * columns + group * states + lane;
#pragma unroll
                        for (int k = 0; k < kLaneStates; ++k) {
                            float dh = fmaf(c[k], g, grad[k]);
                            float of_b = dh * delta_u;
                            float of_c = h_after[32 * k] * g;
                            bool exists = 32 * k + lane < states;
                            if (kConstantB) {
                                grad_b[k] += of_b;
                            } else if (exists && p.b_shares != nullptr) {
                                float* to = p.b_shares + shares + 32 * k;
                                *to = first ? of_b : *to + of_b;
                            }
                            if (kConstantC) {
                                grad_c[k] += of_c;
                            } else if (exists && p.c_shares != nullptr) {
                                float* to = p.c_shares + shares + 32 * k;
                                *to = first ? of_c : *to + of_c;
                            }
                            sums[step] = fmaf(dh, b[k], sums[step]);
                            grad[k] = exp2_for<T>(delta * a[k]) * dh;
                            float of_decay = grad[k] * h_before[32 * k];
                            grad_a[k] = fmaf(delta, of_decay, grad_a[k]);
                            decay_sums[step] = fmaf(a[k], of_decay, decay_sums[step]);
                        }
                    }
                }
                float sum_b = lane_sums<kSteps, 32, 1>(sums, lane);
                float sum_decay = lane_sums<kSteps, 32, 1>(decay_sums, lane);
                // One of the two lanes of a step ends it.
                if (own && lane % 2 == 0) {
                    ScanBackwardElement<T> element(
                        own_u, own_raw, own_z, own_grad_y, skip, p.z != nullptr, p.delta_softplus != 0, sum_y, sum_b, sum_decay, grad_skip,
                        grad_bias);
                    auto store = [&](void* matrix, long long stride, float value) {
                        if (matrix != nullptr) {
                            static_cast<T*>(matrix)[token * stride + channel] = from_float<T>(value);
                        }
                    };
                    store(p.y, p.y_stride, element.y);
                    store(p.grad_u, p.grad_u_stride, element.grad_u);
                    store(p.grad_delta, p.grad_delta_stride, element.grad_delta);
                    store(p.grad_z, p.grad_z_stride, element.grad_z);
                }
                __syncwarp();
            }

#pragma unroll
            for (int k = 0; k < kLaneStates; ++k) {
                int n = 32 * k + lane;
                if (n < states && p.grad_initial_state != nullptr) {
                    p.grad_initial_state[(state_row + n) * p.grad_initial_stride + channel] = grad[k];
                }
            }
        }

        if (p.parameter_shares != nullptr) {
            float* shares = p.parameter_shares + static_cast<long long>(shard) * p.parameter_rows * p.channels + channel;
#pragma unroll
            for (int k = 0; k < kLaneStates; ++k) {
                int n = 32 * k + lane;
                if (n < states) {
                    shares[static_cast<long long>(n) * p.channels] = grad_a[k];
                    if (kConstantB) {
                        shares[static_cast<long long>(states + 2 + n) * p.channels] = grad_b[k];
                    }
                    if (kConstantC) {
                        shares[static_cast<long long>(states + 2 + (kConstantB ? states : 0) + n) * p.channels] = grad_c[k];
                    }
                }
            }
            grad_skip = warp_sum(grad_skip);
            grad_bias = warp_sum(grad_bias);
            if (lane == 0) {
                shares[static_cast<long long>(states) * p.channels] = grad_skip;
                shares[static_cast<long long>(states + 1) * p.channels] = grad_bias;
            }
        }
    }
}

}  // namespace mamba
