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
// from there into registers, then leads the gradient back through it. A team of warps owns kChannels channels of a sequence and walks its
// tiles from the last to the first; a block is one team or two, see pass_turn. Four states of a channel are a lane's, so kLanes =
// kStates / 4 lanes make a channel. A tile has three parts between two barriers of the team:
//
//   prepare   each thread takes a piece of the tile, fetched a tile ahead, and leaves (d, d u) and g in shared memory
//   walk      forward through 16 steps, all states kept; back through them, where B and C are at hand for y and all gradients; sums over
//             states are sums over the lanes of a channel, sums over channels first over those of a warp: see lane_sums, and
//             ScanBackwardLane::leave_products
//   finish    the pieces again: what belongs to a token is put together and stored; the warps' shares of gB and gC are added up
//
// A block alone reads u, delta, z and gy of its channels and tokens, a tile of them into shared memory before it writes that tile's
// gradients; so that of delta may lie over delta, and that of u over gy. chunk_gradients, which runs before, reads both and writes neither.
//
// Nothing is added atomically: blocks leave their shares of gB and gC, and those over tokens, in memory, and partial_sums adds them in
// order, so results repeat bit for bit.
//
// Where batch x channels is too small to fill the card, a sequence is cut into chunks. The states need no pass of their own, since
// checkpoints give each chunk's first; ScanBackwardPart::chunk_gradients makes the gradient of each chunk's first state from zero at its
// end, selective_scan_chunks the gradients at all ends from those, and this kernel again the results.
//
// How the compiler puts the way back in order says as much as what is computed: of 170 orders of the same loads and statements that were tried
// with NVRTC 13.0, the slowest takes 7 % more than the one here.
//
// Walls: issue slots, of which two thirds are used on an H200 by 16 warps a multiprocessor (half of the registers are the states of a tile);
// of shared memory's pipe two thirds too. What 8 x 2048 x 2048 took less where something was left out, before operands came a step ahead:
// barriers 11 %, the tensor cores' sums 11 %, finish 8 %, prepare 7 %, the exponentials of the way forward 5 %, lane_sums 5 %, add_shares 2 %,
// the other exponentials and fetching 1 % each. Slower: weighting the sums over channels inside the tensor cores, with 64 or 128
// multiplications a tile less (more of their instructions, or registers moved to where they read them); their sums without a kind's columns of
// its own, stored by a quarter of the lanes (16 bytes of eight lanes are four passes of shared memory, as of 32); warps that fetch, prepare
// and finish their own channels, with one barrier a tile in two parts (a fetch of 16 bytes of each of 32 rows is 26 passes of shared memory
// instead of four, and a warp still waits for the slowest).
#include "mamba/async_copy.cuh"
#include "mamba/fast_math.cuh"
#include "mamba/mma.cuh"
#include "mamba/named_barrier.cuh"
#include "mamba/reductions.cuh"
#include "mamba/sequences.cuh"
#include "mamba/shared_address.cuh"
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
    int constant_b;  // B belongs to the channel, not to the token; and C
    int constant_c;
};

// Warps that a multiprocessor is to run: 128 registers a thread, half of which are the states of a tile.
constexpr int kScanBackwardWarps = 16;

// What a launch computes.
enum class ScanBackwardPart : int {
    whole = 0,
    chunk_gradients = 1,  // of each chunk's first state, from zero at its end, and the sum of d along it
};

// How a block is cut: teams of kWarps warps that have channels and shared memory of their own, 16 steps, which is how far checkpoints lie
// apart, and one thread for four states. What follows is of a team.
template <typename T_, int kStates_, int kWarps_, int kTeams_>
struct ScanBackwardShape {
    using T = T_;
    static constexpr int kStates = kStates_;
    static constexpr int kWarps = kWarps_;
    static constexpr int kTeams = kTeams_;
    static constexpr int kSteps = kCheckpointSteps;
    static constexpr int kLaneStates = 4;
    static constexpr int kLanes = kStates / kLaneStates;
    static constexpr int kWarpChannels = 32 / kLanes;
    static constexpr int kChannels = kWarps * kWarpChannels;
    static constexpr int kThreads = kWarps * 32;
    static constexpr int kBlockThreads = kTeams * kThreads;

    // What a thread prepares and finishes: pieces of kPiece channels of a step, the same channels in all of its pieces.
    static constexpr int kThreadElements = kChannels * kSteps / kThreads;
    static constexpr int kPiece = kThreadElements < 4 ? kThreadElements : 4;
    static constexpr int kRowPieces = kChannels / kPiece;
    static constexpr int kRoundSteps = kThreads / kRowPieces;
    static constexpr int kRounds = kSteps / kRoundSteps;

    // What a thread fetches of a tile: 16 bytes at once, of one operand, of B or C four states, of checkpoints four channels of a state.
    static constexpr int kFetch = 16 / static_cast<int>(sizeof(T));
    static constexpr int kRowFetches = kChannels / kFetch;
    static constexpr int kOperandFetches = kSteps * kRowFetches;
    static constexpr int kMatrixPieces = 2 * kSteps * kLanes;
    static constexpr int kMatrixRounds = (kMatrixPieces + kThreads - 1) / kThreads;

    // Whether a thread fetches one piece of two operands, at most one of B or C, and one of checkpoints: see fetch_whole.
    static constexpr bool kOneEach = 2 * kOperandFetches == kThreads && kMatrixPieces <= kThreads;

    // Whether tensor cores add over the channels of a warp, see leave_products; how many shares a warp then leaves.
    static constexpr bool kByMatrix = sizeof(T) == 2 && kWarpChannels == 8;
    static constexpr int kWarpShares = kByMatrix ? 2 : 1;
    static constexpr int kShares = kWarps * kWarpShares;
    static constexpr int kMatrixColumns = 8;  // of the tensor cores' result

    // Whether a thread finds ScanBackwardOffsets in shared memory: in small blocks that would cost a block of a multiprocessor.
    static constexpr bool kKeepsOffsets = kWarps >= 8;

    // Shared memory in floats.
    static constexpr int kSumPitch = kChannels + 8;
    static constexpr int kElements = kSteps * kChannels;
    static constexpr int kInputPitch = kChannels + kChannels / 8;  // so that neighbours write 16 bytes to banks of their own
    static constexpr int kInputFloats = 2 * kSteps * kInputPitch;  // (d, d u), step by step
    static constexpr int kMatrixFloats = 2 * kSteps * kStates;     // B and C of a step, lane by lane
    static constexpr int kSumFloats = kSteps * kSumPitch;          // a sum over states
    static constexpr int kSharePitch = kMatrixFloats + 8;          // two shares are written at once, to banks of their own
    static constexpr int kShareFloats = kShares * kSharePitch;     // sums over the channels of a warp, or of half of one
    static constexpr int kOwnFloats = 2 * kPiece * kThreads;       // a thread's sums over tokens, of D and of the bias
    static constexpr int kBeforeFloats = kStates * kChannels;      // the checkpoint of one of two tiles
    static constexpr int kOperandFloats = kElements * static_cast<int>(sizeof(T)) / 4;         // u of one of two tiles, delta, z or gy
    static constexpr int kMatrixPieceFloats = kMatrixPieces * static_cast<int>(sizeof(T));     // B and C
    static constexpr int kSourceFloats = kOneEach ? 6 * kThreads : 0;                          // three addresses a thread
    static constexpr int kOffsetFloats = kKeepsOffsets ? 4 * kThreads : 0;
    static constexpr int kColumnFloats = kByMatrix ? 8 * kMatrixColumns : 0;                   // what products are weighted with
    static constexpr int kSharedFloats = 5 * kOperandFloats + kMatrixPieceFloats + kInputFloats + 4 * kElements + kMatrixFloats
        + 3 * kSumFloats + kShareFloats + kOwnFloats + 2 * kBeforeFloats + kSourceFloats + kOffsetFloats + kColumnFloats + 2 * kChannels + 8
        + (kTeams > 1 ? kMatrixFloats : 0);

    static_assert(kTeams == 1 || kTeams == 2, "they take turns by twos");

    static_assert(kStates % kLaneStates == 0 && 32 % kLanes == 0 && kSteps % kLanes == 0 && kThreads % kRowPieces == 0
            && kChannels % kFetch == 0 && kBeforeFloats == 4 * kThreads,
        "");
};

// Where a team is: what a thread needs between walks, read anew then, since a walk leaves no registers for it.
struct ScanBackwardPlace {
    int first_channel;
    int channels;                 // that exist
    int column;                   // of B and C, the first of the group
    unsigned int share_row;       // of the first token
    unsigned int row;             // of the sequence or chunk
    unsigned int checkpoint;      // its first
    unsigned int wanted;  // a bit for each of y and the gradients of u, delta and z, in this order
    unsigned int unused;
};

// Where a thread's pieces of two operands lie.
template <typename T>
struct alignas(16) ScanBackwardSources {
    const T* of_delta_or_z;
    const T* of_grad_y_or_u;
};

// Where a lane's operands lie, in floats from the beginning of the team's memory. A walk leaves no registers for them, and they take some 30
// instructions.
struct alignas(16) ScanBackwardOffsets {
    int before;  // in a tile with an even number
    int inputs;
    int shares;
    int sums;
};

// What a team keeps in shared memory. Steps lie kChannels elements apart.
template <typename Shape>
struct ScanBackwardMemory {
    using T = typename Shape::T;

    float* first;
    T* delta;           // these and the matrix pieces as fetched
    T* z;
    T* grad_y;
    T* u;               // (tile % 2, step, channel)
    T* matrix_pieces;   // (B or C, step, state)
    float2* inputs;     // (d, d u)
    float* grads;       // g
    float* gates;       // silu(z)
    float* gate_grads;  // gy silu'(z)
    float* slopes;      // of d along delta
    float* matrices;
    float* y;
    float* through_b;
    float* through_decay;
    float* shares;
    float* own;
    float* before;  // (tile % 2, state, channel), see state_before
    ScanBackwardSources<T>* operand_sources;  // of a sequence's first tile, for every thread
    const T** matrix_sources;                 // the same of B or C
    ScanBackwardOffsets* offsets;             // for every thread
    float* columns;                           // (row, column) of a unit matrix
    float* bias;
    float* skip;
    ScanBackwardPlace* place;
    float* team_sums;  // of gB and gC over the channels of a team, which the next one adds to its own

    __device__ __forceinline__ explicit ScanBackwardMemory(float* shared)
        : first(shared)
        , delta(reinterpret_cast<T*>(shared))
        , z(delta + Shape::kElements)
        , grad_y(z + Shape::kElements)
        , u(grad_y + Shape::kElements)
        , matrix_pieces(u + 2 * Shape::kElements)
        , inputs(reinterpret_cast<float2*>(shared + 5 * Shape::kOperandFloats + Shape::kMatrixPieceFloats))
        , grads(shared + 5 * Shape::kOperandFloats + Shape::kMatrixPieceFloats + Shape::kInputFloats)
        , gates(grads + Shape::kElements)
        , gate_grads(gates + Shape::kElements)
        , slopes(gate_grads + Shape::kElements)
        , matrices(slopes + Shape::kElements)
        , y(matrices + Shape::kMatrixFloats)
        , through_b(y + Shape::kSumFloats)
        , through_decay(through_b + Shape::kSumFloats)
        , shares(through_decay + Shape::kSumFloats)
        , own(shares + Shape::kShareFloats)
        , before(own + Shape::kOwnFloats)
        , operand_sources(reinterpret_cast<ScanBackwardSources<T>*>(before + 2 * Shape::kBeforeFloats))
        , matrix_sources(reinterpret_cast<const T**>(operand_sources + (Shape::kOneEach ? Shape::kThreads : 0)))
        , offsets(reinterpret_cast<ScanBackwardOffsets*>(before + 2 * Shape::kBeforeFloats + Shape::kSourceFloats))
        , columns(before + 2 * Shape::kBeforeFloats + Shape::kSourceFloats + Shape::kOffsetFloats)
        , bias(columns + Shape::kColumnFloats)
        , skip(bias + Shape::kChannels)
        , place(reinterpret_cast<ScanBackwardPlace*>(skip + Shape::kChannels))
        , team_sums(skip + Shape::kChannels + 8)
    {
    }

    __device__ __forceinline__ T* u_of(int tile) const { return u + (tile & 1) * Shape::kElements; }

    __device__ __forceinline__ float2* input(int step, int channel) const
    {
        return inputs + step * Shape::kInputPitch + channel + channel / 16 * 2;
    }

    // Channels are swapped by fours, so that the lanes of a warp, which have other states, find theirs in other banks.
    __device__ __forceinline__ float* state_before(int tile, int lane, int n, int channel) const
    {
        int swapped = channel ^ ((lane * Shape::kWarpChannels) & (Shape::kChannels - 4));
        return before + (tile & 1) * Shape::kBeforeFloats + (Shape::kLaneStates * lane + n) * Shape::kChannels + swapped;
    }
};

// One step's share of what belongs to a token, and the sums over tokens that it adds to. Without a gate, silu(z) is one and its gradient
// zero.
struct ScanBackwardElement {
    float y;
    float grad_u;
    float grad_delta;
    float grad_z;

    __device__ __forceinline__ ScanBackwardElement(
        float u, float delta, float slope, float gate, float gate_grad, float grad, float skip, float sum_y, float sum_b, float sum_decay,
        float& grad_skip, float& grad_bias)
    {
        float scanned = fmaf(skip, u, sum_y);
        y = scanned * gate;
        grad_z = scanned * gate_grad;
        grad_u = fmaf(grad, skip, delta * sum_b);
        grad_delta = fmaf(u, sum_b, sum_decay * kLn2) * slope;
        grad_skip = fmaf(grad, u, grad_skip);
        grad_bias += grad_delta;
    }
};

// The number of the thread, read anew: what is computed from it would else be kept through the walk, which needs all registers.
__device__ __forceinline__ int thread_again()
{
#if defined(__CUDA_ARCH__)
    int thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread & 1023;
#else
    return static_cast<int>(threadIdx.x);
#endif
}

// The number of the thread in its team, and of the team in the block.
template <typename Shape>
__device__ __forceinline__ int team_thread_again()
{
    return Shape::kTeams == 1 ? thread_again() : thread_again() % Shape::kThreads;
}

template <typename Shape>
__device__ __forceinline__ int team_again()
{
    return Shape::kTeams == 1 ? 0 : thread_again() / Shape::kThreads;
}

// The first barrier of a team, and the first that a team awaits its turn at.
constexpr int kTeamBarrier = 1;
constexpr int kTurnBarrier = 3;

// A barrier of the team.
template <typename Shape>
__device__ __forceinline__ void team_sync()
{
    if constexpr (Shape::kTeams == 1) {
        __syncthreads();
    } else {
        barrier_sync(kTeamBarrier + team_again<Shape>(), Shape::kThreads);
    }
}

// Two teams are at different parts of a tile: while one leads gradients back, which takes issue slots, the other does all the rest, which
// waits for shared memory and the special-function unit. pass_turn lets the other team begin with the rest, await_turn waits for that.
template <typename Shape>
__device__ __forceinline__ void pass_turn()
{
    if constexpr (Shape::kTeams > 1) {
        barrier_arrive(kTurnBarrier + 1 - team_again<Shape>(), Shape::kBlockThreads);
    }
}

// A barrier of the team too.
template <typename Shape>
__device__ __forceinline__ void await_turn()
{
    if constexpr (Shape::kTeams > 1) {
        barrier_sync(kTurnBarrier + team_again<Shape>(), Shape::kBlockThreads);
    } else {
        __syncthreads();
    }
}

// The same address in shared memory as one number to the compiler, which then keeps it in one register, with constant distances from it in
// the instructions, instead of making sums anew from all that led to it.
template <typename T>
__device__ __forceinline__ T* one_number(T* shared)
{
#if defined(__CUDA_ARCH__)
    unsigned int address = shared_address(shared);
    asm volatile("" : "+r"(address));
    return static_cast<T*>(__cvta_shared_to_generic(address));
#else
    return shared;
#endif
}

// Where the memory of the team begins. One number, or the compiler adds it to every index anew.
template <typename Shape>
__device__ __forceinline__ float* team_memory(float* shared)
{
    return Shape::kTeams == 1 ? shared : one_number(shared + team_again<Shape>() * Shape::kSharedFloats);
}

// `rows` further in a matrix of fewer than 2^30 rows, which lie fewer than 2^32 elements apart: one multiplication and addition.
template <typename T>
__device__ __forceinline__ T* rows_on(T* from, long long stride, unsigned int rows)
{
    unsigned int scaled = rows * static_cast<unsigned int>(sizeof(T));
#if defined(__CUDA_ARCH__)
    // Written down, or the compiler multiplies 64 bits.
    unsigned long long bytes;
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(bytes) : "r"(scaled), "r"(static_cast<unsigned int>(stride)));
#else
    unsigned long long bytes = static_cast<unsigned long long>(scaled) * static_cast<unsigned int>(stride);
#endif
    return (T*)((const char*)from + bytes);
}

template <typename T>
__device__ __forceinline__ T* row_of(T* matrix, long long stride, unsigned int row, int column)
{
    return rows_on(matrix + column, stride, row);
}

// A thread's part of the tiles, on their way from memory to shared memory and back.
template <typename Shape, ScanBackwardPart kPart, bool kAligned>
struct ScanBackwardPieces {
    using T = typename Shape::T;
    using Memory = ScanBackwardMemory<Shape>;
    static constexpr int kPiece = Shape::kPiece;
    static constexpr bool kWhole = kPart == ScanBackwardPart::whole;

    const SelectiveScanBackwardParams& p;
    Memory memory;
    ScanBackwardPlace place;
    int thread;

    __device__ __forceinline__ ScanBackwardPieces(const SelectiveScanBackwardParams& params, const Memory& shared)
        : p(params)
        , memory(shared)
        , place(*shared.place)
        , thread(team_thread_again<Shape>())
    {
    }

    // Of the pieces, in the block.
    __device__ __forceinline__ int channel() const { return thread % Shape::kRowPieces * kPiece; }
    __device__ __forceinline__ int step(int round) const { return thread / Shape::kRowPieces + round * Shape::kRoundSteps; }

    // kCount elements, of which `there` exist, where rows are aligned all or none.
    template <int kCount, typename E>
    __device__ __forceinline__ static void copy(E* to, const E* from, int there)
    {
        if constexpr (kAligned) {
            async_copy<kCount * static_cast<int>(sizeof(E))>(to, from, there > 0);
        } else {
#pragma unroll
            for (int i = 0; i < kCount; ++i) {
                to[i] = i < there ? from[i] : E{};
            }
        }
    }

    // A tile of two operands, of which the second is not there where it is null.
    __device__ __forceinline__ void fetch_operands(
        const void* first, long long first_stride, T* first_to, const void* second, long long second_stride, T* second_to, int steps,
        unsigned int row) const
    {
#pragma unroll
        for (int start = 0; start < 2 * Shape::kOperandFetches; start += Shape::kThreads) {
            int number = start + thread;
            bool is_second = number >= Shape::kOperandFetches;
            const T* matrix = static_cast<const T*>(is_second ? second : first);
            int in_operand = is_second ? number - Shape::kOperandFetches : number;
            int at = in_operand / Shape::kRowFetches;
            int column = in_operand % Shape::kRowFetches * Shape::kFetch;
            if (2 * Shape::kOperandFetches % Shape::kThreads == 0 || number < 2 * Shape::kOperandFetches) {
                copy<Shape::kFetch>(
                    (is_second ? second_to : first_to) + in_operand * Shape::kFetch,
                    row_of(matrix, is_second ? second_stride : first_stride, row + at, place.first_channel + column),
                    at < steps && (!is_second || second != nullptr) ? place.channels - column : 0);
            }
        }
    }

    // Starts to fetch a tile, of which `steps` steps exist.
    __device__ __forceinline__ void fetch(int steps, int tile) const
    {
        if (kAligned && Shape::kOneEach && steps == Shape::kSteps && place.channels == Shape::kChannels) {
            fetch_whole(tile);
        } else {
            fetch_what_exists(steps, tile);
        }
        async_commit();
    }

    // Leaves where this thread's pieces of a sequence's first tile lie, for fetch_whole. Where there is no z, delta is fetched in its place.
    __device__ __forceinline__ void aim() const
    {
        if constexpr (kAligned && Shape::kOneEach) {
            bool is_second = thread >= Shape::kOperandFetches;
            unsigned int row = place.row + thread % Shape::kOperandFetches / Shape::kRowFetches;
            int column = place.first_channel + thread % Shape::kRowFetches * Shape::kFetch;
            auto address = [&](const void* matrix, long long stride) {
                return row_of(static_cast<const T*>(matrix), stride, row, column);
            };
            memory.operand_sources[thread] = {
                is_second && p.z != nullptr ? address(p.z, p.z_stride) : address(p.delta, p.delta_stride),
                is_second ? address(p.u, p.u_stride) : address(p.grad_y, p.grad_y_stride)};
            memory.matrix_sources[thread] = source_of(MatrixPiece(0, thread), place.row);
        }
    }

    // A tile that has all steps and channels, without asking for anything.
    __device__ __forceinline__ void fetch_whole(int tile) const
    {
        bool is_second = thread >= Shape::kOperandFetches;
        unsigned int rows = tile * Shape::kSteps;
        ScanBackwardSources<T> operands = memory.operand_sources[thread];
        const T* matrix = memory.matrix_sources[thread];
        copy_further<Shape::kFetch>(
            memory.delta + thread * Shape::kFetch, operands.of_delta_or_z, is_second && p.z != nullptr ? p.z_stride : p.delta_stride, rows);
        if (!is_second || kWhole) {
            int turn = is_second ? (tile & 1) * Shape::kElements : 0;
            copy_further<Shape::kFetch>(
                memory.grad_y + thread * Shape::kFetch + turn, operands.of_grad_y_or_u, is_second ? p.u_stride : p.grad_y_stride, rows);
        }
        bool is_c = thread >= Shape::kMatrixPieces / 2;
        if (thread < Shape::kMatrixPieces && (kWhole || is_c)) {
            copy_further<4>(memory.matrix_pieces + 4 * thread, matrix, is_c ? p.c_stride : p.b_stride, rows);
        }
        if constexpr (kWhole) {
            async_copy<4 * static_cast<int>(sizeof(float))>(checkpoint_target(tile), checkpoint_source(tile), true);
        }
    }

    // kCount elements `rows` further than they lie in the first tile.
    template <int kCount, typename E>
    __device__ __forceinline__ static void copy_further(E* to, const E* first, long long stride, unsigned int rows)
    {
        async_copy<kCount * static_cast<int>(sizeof(E))>(to, rows_on(first, stride, rows), true);
    }

    // Which four channels of which state this thread takes of a checkpoint.
    __device__ __forceinline__ int checkpoint_state() const { return thread / (Shape::kChannels / 4); }
    __device__ __forceinline__ int checkpoint_column() const { return thread % (Shape::kChannels / 4) * 4; }
    __device__ __forceinline__ const float* checkpoint_source(int tile) const
    {
        return row_of(
            p.checkpoints, p.checkpoint_stride, (place.checkpoint + tile) * Shape::kStates + checkpoint_state(),
            place.first_channel + checkpoint_column());
    }
    __device__ __forceinline__ float* checkpoint_target(int tile) const
    {
        int state = checkpoint_state();
        return memory.state_before(tile, state / Shape::kLaneStates, state % Shape::kLaneStates, checkpoint_column());
    }

    __device__ __forceinline__ void fetch_what_exists(int steps, int tile) const
    {
        unsigned int row = place.row + tile * Shape::kSteps;
        fetch_operands(p.delta, p.delta_stride, memory.delta, p.z, p.z_stride, memory.z, steps, row);
        fetch_operands(p.grad_y, p.grad_y_stride, memory.grad_y, kWhole ? p.u : nullptr, p.u_stride, memory.u_of(tile), steps, row);
#pragma unroll
        for (int round = 0; round < Shape::kMatrixRounds; ++round) {
            MatrixPiece piece(round, thread);
            if (piece.number < Shape::kMatrixPieces && (kWhole || piece.is_c)) {
                copy<4>(memory.matrix_pieces + 4 * piece.number, source_of(piece, row), piece.step < steps ? 4 : 0);
            }
        }
        if constexpr (kWhole) {
            copy<4>(checkpoint_target(tile), checkpoint_source(tile), place.channels - checkpoint_column());
        }
    }

    // Which piece of B or C this thread takes.
    struct MatrixPiece {
        int number;
        int lane;
        int step;
        bool is_c;

        __device__ __forceinline__ MatrixPiece(int round, int thread)
            : number(round * Shape::kThreads + thread)
            , lane(number % Shape::kLanes)
            , step(number / Shape::kLanes % Shape::kSteps)
            , is_c(number / Shape::kLanes / Shape::kSteps != 0)
        {
        }
    };

    // Where a piece lies in a tile that begins with `row`.
    __device__ __forceinline__ const T* source_of(const MatrixPiece& piece, unsigned int row) const
    {
        const T* matrix = static_cast<const T*>(piece.is_c ? p.c : p.b);
        return row_of(matrix, piece.is_c ? p.c_stride : p.b_stride, row + piece.step, place.column + 4 * piece.lane);
    }

    // This thread's pieces of a fetched tile, on their way to prepare.
    struct Fetched {
        Stored<T, kPiece> u[Shape::kRounds];
        Stored<T, kPiece> delta[Shape::kRounds];
        Stored<T, kPiece> z[Shape::kRounds];
        Stored<T, kPiece> grad_y[Shape::kRounds];
        Stored<T, 4> matrices[Shape::kMatrixRounds];
    };

    __device__ __forceinline__ void take(int tile, Fetched& fetched) const
    {
#pragma unroll
        for (int round = 0; round < Shape::kRounds; ++round) {
            int at = step(round) * Shape::kChannels + channel();
            if constexpr (kWhole) {
                load(memory.u_of(tile) + at, fetched.u[round]);
            }
            load(memory.delta + at, fetched.delta[round]);
            load(memory.z + at, fetched.z[round]);
            load(memory.grad_y + at, fetched.grad_y[round]);
        }
#pragma unroll
        for (int round = 0; round < Shape::kMatrixRounds; ++round) {
            MatrixPiece piece(round, thread);
            if (piece.number < Shape::kMatrixPieces && (kWhole || piece.is_c)) {
                load(memory.matrix_pieces + 4 * piece.number, fetched.matrices[round]);
            }
        }
    }

    // Leaves a tile as the walk and finish read it. Steps past the end, whose gy was fetched as zero, get d = 0: they change nothing.
    __device__ __forceinline__ void prepare(int steps, const Fetched& fetched) const
    {
#pragma unroll
        for (int round = 0; round < Shape::kMatrixRounds; ++round) {
            MatrixPiece piece(round, thread);
            if (piece.number < Shape::kMatrixPieces && (kWhole || piece.is_c)) {
                float values[4];
                widen(fetched.matrices[round], values);
                store(memory.matrices + piece.step * 2 * Shape::kStates + 8 * piece.lane + (piece.is_c ? 4 : 0), values);
            }
        }
        float bias[kPiece];
        load(memory.bias + channel(), bias);
#pragma unroll
        for (int round = 0; round < Shape::kRounds; ++round) {
            int at = step(round) * Shape::kChannels + channel();
            bool there = step(round) < steps;
            float delta[kPiece];
            float grad[kPiece];
            float gate[kPiece];
            float gate_grad[kPiece];
            widen(fetched.delta[round], delta);
            widen(fetched.grad_y[round], grad);
            if (p.z != nullptr) {
                float z[kPiece];
                widen(fetched.z[round], z);
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    gate[i] = silu_for<T>(z[i]);
                    gate_grad[i] = grad[i] * silu_slope_for<T>(z[i]);
                    grad[i] *= gate[i];
                }
            } else {
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    gate[i] = 1.0f;
                    gate_grad[i] = 0.0f;
                }
            }
            float slope[kPiece];
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                delta[i] += bias[i];
            }
            if (p.delta_softplus != 0) {
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    delta[i] = softplus_for<T>(delta[i], slope[i]);
                }
            } else {
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    slope[i] = 1.0f;
                }
            }
            float u[kPiece] = {};
            float inputs[2 * kPiece];
            if constexpr (kWhole) {
                widen(fetched.u[round], u);
            }
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                inputs[2 * i] = there ? delta[i] : 0.0f;
                inputs[2 * i + 1] = inputs[2 * i] * u[i];
            }
            store(reinterpret_cast<float*>(memory.input(step(round), channel())), inputs);
            store(memory.grads + at, grad);
            if constexpr (kWhole) {
                store(memory.gates + at, gate);
                store(memory.gate_grads + at, gate_grad);
                store(memory.slopes + at, slope);
            }
        }
    }

    // Puts together what belongs to the tokens of a tile, and stores it.
    __device__ __forceinline__ void finish(int steps, int tile) const
    {
        int there = place.channels - channel();
        float skip[kPiece];
        float grad_skip[kPiece];
        float grad_bias[kPiece];
        float* own = memory.own + thread * kPiece;
        load(memory.skip + channel(), skip);
        load(own, grad_skip);
        load(own + Shape::kThreads * kPiece, grad_bias);
#pragma unroll
        for (int round = 0; round < Shape::kRounds; ++round) {
            bool exists = there > 0 && step(round) < steps;
            int at = step(round) * Shape::kChannels + channel();
            int sum_at = step(round) * Shape::kSumPitch + channel();
            float u[kPiece];
            float inputs[2 * kPiece];
            float grad[kPiece];
            float gate[kPiece];
            float gate_grad[kPiece];
            float slope[kPiece];
            float y[kPiece];
            float through_b[kPiece];
            float through_decay[kPiece];
            load(memory.u_of(tile) + at, u);
            load(reinterpret_cast<const float*>(memory.input(step(round), channel())), inputs);
            load(memory.grads + at, grad);
            load(memory.gates + at, gate);
            load(memory.gate_grads + at, gate_grad);
            load(memory.slopes + at, slope);
            load(memory.y + sum_at, y);
            load(memory.through_b + sum_at, through_b);
            load(memory.through_decay + sum_at, through_decay);
            float grad_u[kPiece];
            float grad_delta[kPiece];
            float grad_z[kPiece];
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                // The gradient of a state that goes on past the end has a slope there too: it does not count.
                float own_slope = exists ? slope[i] : 0.0f;
                ScanBackwardElement element(
                    u[i], inputs[2 * i], own_slope, gate[i], gate_grad[i], grad[i], skip[i], y[i], through_b[i], through_decay[i],
                    grad_skip[i], grad_bias[i]);
                y[i] = element.y;
                grad_u[i] = element.grad_u;
                grad_delta[i] = element.grad_delta;
                grad_z[i] = element.grad_z;
            }
            // All addresses first, so that what follows has no branches.
            unsigned int token = place.row + tile * Shape::kSteps + step(round);
            int column = place.first_channel + channel();
            T* to_y = row_of(static_cast<T*>(p.y), p.y_stride, token, column);
            T* to_grad_u = row_of(static_cast<T*>(p.grad_u), p.grad_u_stride, token, column);
            T* to_grad_delta = row_of(static_cast<T*>(p.grad_delta), p.grad_delta_stride, token, column);
            T* to_grad_z = row_of(static_cast<T*>(p.grad_z), p.grad_z_stride, token, column);
            unsigned int wanted = exists ? place.wanted : 0;
            store_where((wanted & 1) != 0, to_y, there, y);
            store_where((wanted & 2) != 0, to_grad_u, there, grad_u);
            store_where((wanted & 4) != 0, to_grad_delta, there, grad_delta);
            store_where((wanted & 8) != 0, to_grad_z, there, grad_z);
        }
        store(own, grad_skip);
        store(own + Shape::kThreads * kPiece, grad_bias);
    }

    __device__ __forceinline__ static void store_where(bool wanted, T* to, int there, const float (&values)[kPiece])
    {
        if (wanted) {
            store_row<kAligned>(to, there, values);
        }
    }
};

// Which states of which channel are a lane's.
template <typename Shape>
struct ScanBackwardSpot {
    int lane;     // of the channel
    int number;   // of the channel in the warp
    int channel;  // in the block

    __device__ __forceinline__ explicit ScanBackwardSpot(int thread)
        : lane(thread % 32 / Shape::kWarpChannels)
        , number(thread % Shape::kWarpChannels)
        , channel(thread / 32 * Shape::kWarpChannels + number)
    {
    }
};

// A lane's four states of a channel.
template <typename Shape>
struct ScanBackwardLane {
    using Spot = ScanBackwardSpot<Shape>;
    using T = typename Shape::T;
    static constexpr int kSteps = Shape::kSteps;
    static constexpr int kLanes = Shape::kLanes;
    static constexpr int kWarpChannels = Shape::kWarpChannels;

    float a[4];
    float grad[4];
    float grad_a[4];
    float delta_sum;

    // `at`: the channel, or negative where there is none.
    __device__ __forceinline__ ScanBackwardLane(const SelectiveScanBackwardParams& p, int lane, int at)
        : delta_sum(0.0f)
    {
        load_states(p.a, p.a_stride, 4 * lane, at, a);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            a[n] *= kLog2E;
            grad[n] = 0.0f;
            grad_a[n] = 0.0f;
        }
    }

    // Four rows of a matrix of states, (slots * states, channels).
    __device__ __forceinline__ static void load_states(const float* states, long long stride, long long row, int at, float (&to)[4])
    {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            to[n] = at >= 0 && states != nullptr ? states[(row + n) * stride + at] : 0.0f;
        }
    }

    __device__ __forceinline__ static void store_states(float* states, long long stride, long long row, int at, const float (&from)[4])
    {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            if (at >= 0 && states != nullptr) {
                states[(row + n) * stride + at] = from[n];
            }
        }
    }

    // Leads the gradient back through a tile without asking for anything else.
    __device__ __forceinline__ void lead_back(const ScanBackwardMemory<Shape>& memory, const Spot& spot)
    {
#pragma unroll
        for (int step = kSteps - 1; step >= 0; --step) {
            float delta = memory.input(step, spot.channel)->x;
            float g = memory.grads[step * Shape::kChannels + spot.channel];
            float4 c = *reinterpret_cast<const float4*>(memory.matrices + step * 2 * Shape::kStates + 8 * spot.lane + 4);
            float c_values[4] = {c.x, c.y, c.z, c.w};
            delta_sum += delta;
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                grad[n] = exp2_for<T>(delta * a[n]) * fmaf(c_values[n], g, grad[n]);
            }
        }
    }

    __device__ __forceinline__ static ScanBackwardOffsets offsets_of(const ScanBackwardMemory<Shape>& memory, int thread)
    {
        Spot spot(thread);
        auto offset = [&](const void* shared) {
            return static_cast<int>(static_cast<const float*>(shared) - memory.first);
        };
        int place = Shape::kByMatrix ? place_of_sums(spot, thread) : 0;
        return {
            offset(memory.state_before(0, spot.lane, 0, spot.channel)), offset(memory.input(0, spot.channel)),
            offset(memory.shares + thread / 32 * Shape::kWarpShares * Shape::kSharePitch + place),
            offset(memory.y + spot.lane * Shape::kSumPitch + spot.channel)};
    }

    // Leaves what walk reads.
    __device__ __forceinline__ static void leave_offsets(const ScanBackwardMemory<Shape>& memory, int thread)
    {
        if constexpr (Shape::kKeepsOffsets) {
            memory.offsets[thread] = offsets_of(memory, thread);
        }
        for (int i = thread; i < Shape::kColumnFloats; i += Shape::kThreads) {
            memory.columns[i] = i / Shape::kMatrixColumns == i % Shape::kMatrixColumns ? 1.0f : 0.0f;
        }
    }

    __device__ __forceinline__ void walk(const ScanBackwardMemory<Shape>& memory, int tile)
    {
        int thread = team_thread_again<Shape>();
        Spot spot(thread);
        int lane = spot.lane;
        int channel = spot.channel;
        ScanBackwardOffsets offsets;
        if constexpr (Shape::kKeepsOffsets) {
            offsets = memory.offsets[thread];
        } else {
            offsets = offsets_of(memory, thread);
        }
        const float* before = one_number(memory.first + offsets.before + (tile & 1) * Shape::kBeforeFloats);
        float states[kSteps][4];
        float h[4];
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            h[n] = before[n * Shape::kChannels];
        }
        const float2* inputs = reinterpret_cast<const float2*>(one_number(memory.first + offsets.inputs));
        const float* grads = one_number(memory.grads + channel);
        const float* matrices = one_number(memory.matrices + 8 * lane);
        float* sums = one_number(memory.first + offsets.sums);

#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            float2 input = inputs[step * Shape::kInputPitch];
            float4 b = *reinterpret_cast<const float4*>(matrices + step * 2 * Shape::kStates);
            float b_values[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                h[n] = fmaf(exp2_for<T>(input.x * a[n]), h[n], input.y * b_values[n]);
                states[step][n] = h[n];
            }
        }

        pass_turn<Shape>();
        float* shares = one_number(memory.first + offsets.shares);
        float columns[Shape::kMatrixColumns];
        if constexpr (Shape::kByMatrix) {
            load(memory.columns + thread % 32 / 4 * Shape::kMatrixColumns, columns);
        }
        float left[4];
        // What a step reads is fetched, and its decays are made, while the step is computed that comes before it on this way back. In this
        // order, see above.
        float4 next_c;
        float4 next_b;
        float2 next_input;
        float next_g;
        float next_decay[4];
        auto fetch = [&](int step) {
            next_c = *reinterpret_cast<const float4*>(matrices + step * 2 * Shape::kStates + 4);
            next_b = *reinterpret_cast<const float4*>(matrices + step * 2 * Shape::kStates);
            next_input = inputs[step * Shape::kInputPitch];
            next_g = grads[step * Shape::kChannels];
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                next_decay[n] = exp2_for<T>(next_input.x * a[n]);
            }
        };
        fetch(kSteps - 1);
#pragma unroll
        for (int start = kSteps - kLanes; start >= 0; start -= kLanes) {
            float y[kLanes];
            float through_b[kLanes];
            float through_decay[kLanes];
#pragma unroll
            for (int j = kLanes - 1; j >= 0; --j) {
                int step = start + j;
                float2 input = next_input;
                float g = next_g;
                float b_values[4] = {next_b.x, next_b.y, next_b.z, next_b.w};
                float c_values[4] = {next_c.x, next_c.y, next_c.z, next_c.w};
                float decay[4] = {next_decay[0], next_decay[1], next_decay[2], next_decay[3]};
                if (step > 0) {
                    fetch(step - 1);
                }
                float products[8];
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    float dh = fmaf(c_values[n], g, grad[n]);
                    products[n] = dh * input.y;
                    products[4 + n] = states[step][n] * g;
                    y[j] = n == 0 ? states[step][n] * c_values[n] : fmaf(states[step][n], c_values[n], y[j]);
                    through_b[j] = n == 0 ? dh * b_values[n] : fmaf(dh, b_values[n], through_b[j]);
                    grad[n] = decay[n] * dh;
                    float of_decay = grad[n] * (step == 0 ? before[n * Shape::kChannels] : states[step == 0 ? 0 : step - 1][n]);
                    grad_a[n] = fmaf(input.x, of_decay, grad_a[n]);
                    through_decay[j] = n == 0 ? a[n] * of_decay : fmaf(a[n], of_decay, through_decay[j]);
                }
                if constexpr (Shape::kByMatrix) {
                    bool second = step % 2 == 0;  // of two steps
                    if (!second) {
                        // A step later, when the tensor cores are done.
                        if (step < kSteps - 1) {
                            store(shares + (step + 1) * 2 * Shape::kStates, left);
                        }
                        left[0] = left[1] = left[2] = left[3] = 0.0f;
                    }
                    add_products(products, columns, second, left);
                } else {
                    leave_products(products, spot, shares + step * 2 * Shape::kStates);
                }
            }
            float* to = sums + start * Shape::kSumPitch;
            to[0] = lane_sums<kLanes, kLanes, kWarpChannels>(y, lane);
            to[Shape::kSumFloats] = lane_sums<kLanes, kLanes, kWarpChannels>(through_b, lane);
            to[2 * Shape::kSumFloats] = lane_sums<kLanes, kLanes, kWarpChannels>(through_decay, lane);
        }
        if constexpr (Shape::kByMatrix) {
            store(shares, left);
        }
    }

    // The warp's sums over its channels of four products for gB and four for gC, as (gB, gC) of all states.
    __device__ __forceinline__ static void leave_products(float (&products)[8], const Spot& spot, float* to)
    {
        constexpr int kLeft = 8 > kWarpChannels ? 8 / kWarpChannels : 1;
        // Where a warp has more channels than there are products, several lanes are left the same sum.
        constexpr int kCopies = kWarpChannels > 8 ? kWarpChannels / 8 : 1;
        lane_sums<8, kWarpChannels, 1>(products, spot.number);
        if (spot.number % kCopies == 0) {
#pragma unroll
            for (int i = 0; i < kLeft; ++i) {
                int product = spot.number / kCopies * kLeft + i;
                to[product / 4 * Shape::kStates + 4 * spot.lane + product % 4] = products[i];
            }
        }
    }

    // The same by tensor cores, for results of 16 bits: 7 shuffles and 21 other operations less. A row of A is four lanes, whose products
    // B adds up, each kind into columns of its own: states 0 and 2 of gB into column 0, 1 and 3 into column 1, those of gC into 2 and 3, so
    // that a lane of the first or the second kind is left four states in order. Eight channels are two rows, which leave a share each.
    // The products lose 13 bits, and thereby 2^-11 / 1.39 of the whole: see kCutOff.
    __device__ __forceinline__ static void add_products(
        const float (&products)[8], const float (&columns)[Shape::kMatrixColumns], bool second, float (&sums)[4])
    {
        // Those of gC first: they are there before those of gB.
#pragma unroll
        for (int kind = 1; kind >= 0; --kind) {
            int column = 2 * kind + (second ? 4 : 0);
            float a[4] = {products[4 * kind], products[4 * kind + 2], products[4 * kind + 1], products[4 * kind + 3]};
            float b[2] = {columns[column], columns[column + 1]};
            multiply_accumulate_float(sums, a, b);
        }
    }

    // Where a lane stores the sums of steps 0 and 1, in the shares of the warp: lanes 0 and 1 of each four those of step 1, which was added
    // first, gB or gC. The states of step 1 are swapped by fours, so that eight lanes store to all banks: see add_shares.
    __device__ __forceinline__ static int place_of_sums(const Spot& spot, int thread)
    {
        int row = thread % 32 / 4;
        int step = thread % 4 < 2 ? 1 : 0;
        return row % 2 * Shape::kSharePitch + (2 * step + thread % 2) * Shape::kStates + 4 * (spot.lane ^ step);
    }
};

// What tensor cores leave out of a product on the average: half of 2^-10 / m, m being its mantissa, whose logarithm is evenly spread.
constexpr float kCutOff = 1.0f / 2048.0f / 1.386294361f;

// gB and gC of a tile, over the channels of the block: the shares in order, and before them what the first team left. A thread takes two
// states of a step at once.
template <typename Shape>
__device__ __forceinline__ void add_shares(
    const SelectiveScanBackwardParams& p, const ScanBackwardMemory<Shape>& memory, const ScanBackwardPlace& place, int thread, int steps,
    unsigned int row)
{
    int team = team_again<Shape>();
#pragma unroll
    for (int start = 0; start < Shape::kMatrixFloats; start += 2 * Shape::kThreads) {
        int i = start + 2 * thread;
        int step = i / (2 * Shape::kStates);
        float* to = i / Shape::kStates % 2 == 0 ? p.b_shares : p.c_shares;
        int swapped = Shape::kByMatrix ? i ^ step % 2 * 4 : i;
        float2* of_first_team = reinterpret_cast<float2*>(memory.team_sums - (team > 0 ? Shape::kSharedFloats : 0) + i);
        float2 sum = {0.0f, 0.0f};
        if (team > 0) {
            sum = *of_first_team;
        }
#pragma unroll
        for (int share = 0; share < Shape::kShares; ++share) {
            float2 term = *reinterpret_cast<const float2*>(memory.shares + share * Shape::kSharePitch + swapped);
            sum.x += term.x;
            sum.y += term.y;
        }
        if (Shape::kTeams > 1 && team == 0) {
            *of_first_team = sum;
            continue;
        }
        if constexpr (Shape::kByMatrix) {
            sum.x = fmaf(kCutOff, sum.x, sum.x);
            sum.y = fmaf(kCutOff, sum.y, sum.y);
        }
        float* there = row_of(to, p.groups * Shape::kStates, place.share_row + row + step, place.column + i % Shape::kStates);
        if (step < steps && to != nullptr) {
            *reinterpret_cast<float2*>(there) = sum;
        }
    }
}

template <typename Shape, ScanBackwardPart kPart, bool kAligned>
__global__ void __launch_bounds__(Shape::kBlockThreads, kScanBackwardWarps / Shape::kWarps / Shape::kTeams)
    selective_scan_backward(const __grid_constant__ SelectiveScanBackwardParams p)
{
    extern __shared__ __align__(16) float shared[];
    if constexpr (Shape::kTeams > 1) {
        barriers_begin(kTeamBarrier, Shape::kTeams, Shape::kThreads);
        barriers_begin(kTurnBarrier, Shape::kTeams, Shape::kBlockThreads);
    }
    constexpr bool kWhole = kPart == ScanBackwardPart::whole;
    ScanBackwardMemory<Shape> memory(team_memory<Shape>(shared));
    int part = static_cast<int>(blockIdx.x) % p.parts_of_group;
    int group = static_cast<int>(blockIdx.x) / p.parts_of_group;
    int channel_in_group = (part * Shape::kTeams + team_again<Shape>()) * Shape::kChannels;
    int first_channel = group * p.group_channels + channel_in_group;
    int left = p.group_channels - channel_in_group;
    int channels = left < Shape::kChannels ? left : Shape::kChannels;  // none or less in a second team that is not needed
    int thread = team_thread_again<Shape>();
    int shard = static_cast<int>(blockIdx.y);

    ScanBackwardSpot<Shape> spot(thread);
    int at = spot.channel < channels ? first_channel + spot.channel : -1;
    ScanBackwardLane<Shape> lane(p, spot.lane, at);
    if (thread == 0) {
        memory.place->first_channel = first_channel;
        memory.place->channels = channels;
        memory.place->column = group * Shape::kStates;
        memory.place->wanted = (p.y != nullptr ? 1 : 0) | (p.grad_u != nullptr ? 2 : 0) | (p.grad_delta != nullptr ? 4 : 0)
            | (p.grad_z != nullptr ? 8 : 0);
        memory.place->share_row = static_cast<unsigned int>(part) * static_cast<unsigned int>(p.tokens);
    }
    ScanBackwardLane<Shape>::leave_offsets(memory, thread);
    for (int i = thread; kWhole && i < Shape::kOwnFloats; i += Shape::kThreads) {
        memory.own[i] = 0.0f;
    }
    for (int i = thread; i < Shape::kChannels; i += Shape::kThreads) {
        memory.bias[i] = i < channels && p.delta_bias != nullptr ? p.delta_bias[first_channel + i] : 0.0f;
        memory.skip[i] = i < channels && p.d != nullptr ? p.d[first_channel + i] : 0.0f;
    }
    team_sync<Shape>();
    if (kWhole && Shape::kTeams > 1 && team_again<Shape>() == 1) {
        await_turn<Shape>();
    }

    int first_sequence = p.chunks > 1 ? shard / p.chunks : static_cast<int>(static_cast<long long>(p.sequences.count) * shard / p.shards);
    int last_sequence =
        p.chunks > 1 ? first_sequence + 1 : static_cast<int>(static_cast<long long>(p.sequences.count) * (shard + 1) / p.shards);
    for (int sequence = first_sequence; sequence < last_sequence; ++sequence) {
        long long first_row = p.sequences.start(sequence);
        long long last_row = p.sequences.end(sequence);
        long long checkpoint = p.sequences.checkpoint(sequence);
        long long state_row = static_cast<long long>(p.sequences.slot(sequence)) * Shape::kStates + 4 * spot.lane;
        if (p.chunks > 1) {
            // A chunk is a sequence of its own, whose gradients of states lie by its number.
            long long start = shard % p.chunks * p.chunk_length;
            first_row += start;
            checkpoint += start / Shape::kSteps;
            last_row = first_row + p.chunk_length < last_row ? first_row + p.chunk_length : last_row;
            state_row = static_cast<long long>(shard) * Shape::kStates + 4 * spot.lane;
        }
        int tiles = first_row < last_row ? static_cast<int>((last_row - first_row + Shape::kSteps - 1) / Shape::kSteps) : 0;
        int steps = static_cast<int>(last_row - first_row - (tiles - 1ll) * Shape::kSteps);  // of the tile
        if (kWhole) {
            lane.load_states(p.grad_final_state, p.grad_final_stride, state_row, at, lane.grad);
        }
        if (thread == 0) {
            memory.place->row = static_cast<unsigned int>(first_row);
            memory.place->checkpoint = static_cast<unsigned int>(checkpoint);
        }
        team_sync<Shape>();
        using Pieces = ScanBackwardPieces<Shape, kPart, kAligned>;
        // Made anew as the numbers are.
        auto own_memory = [&]() { return ScanBackwardMemory<Shape>(team_memory<Shape>(shared)); };
        if (tiles > 0) {
            Pieces pieces(p, own_memory());
            pieces.aim();
            pieces.fetch(steps, tiles - 1);
            async_wait<0>();
        }
        team_sync<Shape>();
        typename Pieces::Fetched fetched;
        if (tiles > 0) {
            Pieces(p, own_memory()).take(tiles - 1, fetched);
        }
        for (int tile = tiles - 1; tile >= 0; --tile) {
            Pieces(p, own_memory()).prepare(steps, fetched);
            team_sync<Shape>();
            // What was fetched of this tile but u and the checkpoint has been read.
            if (tile > 0) {
                Pieces(p, own_memory()).fetch(Shape::kSteps, tile - 1);
            }
            if constexpr (kWhole) {
                lane.walk(own_memory(), tile);
            } else {
                lane.lead_back(own_memory(), spot);
            }
            async_wait<0>();
            if constexpr (kWhole) {
                await_turn<Shape>();
            } else {
                team_sync<Shape>();
            }
            Pieces pieces(p, own_memory());
            if constexpr (kWhole) {
                pieces.finish(steps, tile);
                add_shares(p, pieces.memory, pieces.place, pieces.thread, steps, pieces.place.row + tile * Shape::kSteps);
            }
            // Here and not where it is used, which the compiler makes 6 % slower; at the last tile, something that nobody uses.
            pieces.take(tile > 0 ? tile - 1 : 0, fetched);
            steps = Shape::kSteps;
        }
        lane.store_states(p.grad_initial_state, p.grad_initial_stride, state_row, at, lane.grad);
        if (!kWhole && at >= 0 && spot.lane == 0) {
            p.delta_sums[static_cast<long long>(shard) * p.channels + at] = lane.delta_sum;
        }
        // What the last tile left in shared memory has been read before the next sequence writes there.
        team_sync<Shape>();
    }

    if constexpr (kWhole) {
        if (team_again<Shape>() == 0) {
            pass_turn<Shape>();
        }
        if (p.parameter_shares == nullptr) {
            return;
        }
        float* shares = p.parameter_shares + static_cast<long long>(shard) * p.parameter_rows * p.channels;
        lane.store_states(shares, p.channels, 4 * spot.lane, at, lane.grad_a);
        for (int i = thread; i < 2 * Shape::kChannels; i += Shape::kThreads) {
            int channel = i % Shape::kChannels;
            int which = i / Shape::kChannels;
            if (channel < channels) {
                float sum = 0.0f;
                for (int step = 0; step < Shape::kRoundSteps; ++step) {
                    int owner = step * Shape::kRowPieces + channel / Shape::kPiece;
                    sum += memory.own[(which * Shape::kThreads + owner) * Shape::kPiece + channel % Shape::kPiece];
                }
                shares[static_cast<long long>(Shape::kStates + which) * p.channels + first_channel + channel] = sum;
            }
        }
    }
}

// Every state size up to 32 * kLaneStates, and B or C that belong to the channel and not to the token: a warp a range of channels, one
// after the other, its lanes the states; two lanes have the values of a step. A warp's shares of gB and gC are its own, so that it may add
// to them channel by channel. For what the kernel above does not take; slower.
template <typename T, int kLaneStates>
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
    bool constant_b = p.constant_b != 0;
    bool constant_c = p.constant_c != 0;
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
            b[k] = exists && constant_b ? static_cast<const float*>(p.b)[n * p.b_stride + channel] : 0.0f;
            c[k] = exists && constant_c ? static_cast<const float*>(p.c)[n * p.c_stride + channel] : 0.0f;
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
                float own_slope = 1.0f;
                float own_delta = own ? (p.delta_softplus ? softplus_for<T>(own_raw, own_slope) : own_raw) : 0.0f;
                float own_z = own && p.z != nullptr ? to_float(static_cast<const T*>(p.z)[token * p.z_stride + channel]) : 0.0f;
                float own_grad_y = own ? to_float(static_cast<const T*>(p.grad_y)[token * p.grad_y_stride + channel]) : 0.0f;
                float own_gate = p.z != nullptr ? silu_for<T>(own_z) : 1.0f;
                float own_gate_grad = p.z != nullptr ? own_grad_y * silu_slope_for<T>(own_z) : 0.0f;
                float own_grad = own_grad_y * own_gate;
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
                        if (!constant_b) {
                            b[k] = exists ? to_float(static_cast<const T*>(p.b)[(row + step) * p.b_stride + column]) : 0.0f;
                        }
                        if (!constant_c) {
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
                            if (constant_b) {
                                grad_b[k] += of_b;
                            } else if (exists && p.b_shares != nullptr) {
                                float* to = p.b_shares + shares + 32 * k;
                                *to = first ? of_b : *to + of_b;
                            }
                            if (constant_c) {
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
                    ScanBackwardElement element(
                        own_u, own_delta, own_slope, own_gate, own_gate_grad, own_grad, skip, sum_y, sum_b, sum_decay, grad_skip, grad_bias);
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
                    if (constant_b) {
                        shares[static_cast<long long>(states + 2 + n) * p.channels] = grad_b[k];
                    }
                    if (constant_c) {
                        shares[static_cast<long long>(states + 2 + (constant_b ? states : 0) + n) * p.channels] = grad_c[k];
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
