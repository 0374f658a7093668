// selective_scan_forward.cu: the selective scan along packed sequences (Mamba, section 3.2, algorithm 2).
//
//   delta' = softplus(delta + bias)
//   h[n]   = exp(delta' A[n]) h[n] + delta' u B[n]
//   y      = (sum over n of C[n] h[n] + D u) silu(z)
//
//   u, delta, z, y (tokens, channels)   A (states, channels)   B, C (tokens, groups * states)   D, bias (channels)
//   h (slots * states, channels)
//
// A block owns kChannels channels of one sequence and walks it in tiles of kSteps steps. Its warps have two trades, so that neither waits
// for the other's latencies; they meet at two barriers a tile, over two stages of shared memory:
//
//   scanners   kLanes lanes hold the states of a channel in registers, kStates / kLanes each, and do nothing but the recurrence. A sum
//              over states is a sum over lanes: a transposing butterfly after kLanes steps leaves each lane the sum of one, by
//              kLanes - 1 shuffles for kLanes steps
//   workers    before: load kPiece channels of u and delta at once, a tile ahead; leave (delta', delta' u) and B, C in shared memory;
//              after: take the sums out of it, add D u, gate, and store kPiece channels of y at once
//
// Nothing of the states reaches memory but the first and the last. The decay is exp2 with log2(e) folded into A. Steps past the end get
// delta' = 0, which keeps a state as it is, so that scanners know no tails.
//
// Where batch x channels is too small to fill the card, a sequence is cut into chunks: this kernel makes each chunk's end state from zero
// and the sum of its delta' (ScanPart::end_state), selective_scan_chunks each chunk's first state (its whole decay is exp(A * sum): one
// exp a state and chunk), and this kernel again the results.
//
// Walls: the special-function unit with kStates + 2 operations an element in bf16, and issue slots close behind, where many channels run;
// the pipe of shared memory where kLanes is large, since every lane takes 16 bytes a step and state, and shuffles go that way too: an
// exchange of the sums through shared memory, with an eighth less instructions, was slower. Measured: bench/results/README.md, rows scan.
#include "mamba/fast_math.cuh"
#include "mamba/named_barrier.cuh"
#include "mamba/reductions.cuh"
#include "mamba/sequences.cuh"
#include "mamba/state_numbers.cuh"
#include "mamba/types.cuh"
#include "mamba/vectors.cuh"

namespace mamba {

struct SelectiveScanForwardParams {
    const void* u;
    const void* delta;
    const float* a;
    const void* b;
    const void* c;
    const float* d;           // or null
    const void* z;            // or null
    const float* delta_bias;  // or null
    const float* initial_state;  // or null
    float* final_state;          // or null
    float* checkpoints;          // or null; of ScanPart::checkpointed and selective_scan_forward_any
    void* y;
    const float* a_imaginary;    // (states, channels); or null for real A
    long long u_stride;
    long long delta_stride;
    long long a_stride;
    long long b_stride;
    long long c_stride;
    long long z_stride;
    long long initial_stride;
    long long final_stride;
    long long checkpoint_stride;
    long long y_stride;
    long long a_imaginary_stride;
    SequenceTable sequences;
    float* delta_sums;        // of every chunk, (chunks of all sequences, channels); for the first pass alone
    long long chunk_length;   // steps
    int chunks;               // of a sequence; 1 for a scan in one piece, else states are those of chunks
    int channels;
    int group_channels;       // that share B and C
    int blocks_of_group;      // along the channels of a group
    int blocks_of_sequence;   // along all its channels
    int states;
    int delta_softplus;
    int constant_b;           // B belongs to the channel; of selective_scan_forward_any alone, as the next
    int constant_c;
};

// What a launch computes.
enum class ScanPart : int {
    whole = 0,
    end_state = 1,     // of each chunk, from zero, and the sum of delta' along it: the first pass of a scan in chunks
    checkpointed = 2,  // as whole, and the states before every kCheckpointSteps-th step of each sequence
};

// How the work is cut; every number is a template argument of the kernel, chosen by the tuning table in SelectiveScanForward.Cuda.cs.
template <int kStates_, int kLanes_, int kChannels_, int kSteps_, int kWorkerWarps_, int kPiece_>
struct ScanShape {
    static constexpr int kStates = kStates_;
    static constexpr int kLanes = kLanes_;
    static constexpr int kChannels = kChannels_;
    static constexpr int kSteps = kSteps_;
    static constexpr int kLaneStates = kStates / kLanes;
    static constexpr int kScanners = kChannels * kLanes;
    static constexpr int kWorkers = kWorkerWarps_ * 32;
    static constexpr int kThreads = kScanners + kWorkers;
    // Steps that a scanner takes between two butterflies; more than kLanes where there are few lanes, for independent work.
    static constexpr int kGroup = kLanes < 4 ? 4 : kLanes;

    // What a worker takes at once: channels of one step; and states of B or C of one step. Consecutive workers take the pieces of a row,
    // then the next row, so that what a warp loads or stores lies together; a worker's pieces are of the same channels, and kRoundSteps
    // steps apart.
    static constexpr int kPiece = kPiece_;
    static constexpr int kRowPieces = kChannels / kPiece;
    static constexpr int kRoundSteps = kWorkers / kRowPieces;
    static constexpr int kRounds = kSteps / kRoundSteps;
    static constexpr int kStatePiece = kStates < kPiece ? kStates : kPiece;
    static constexpr int kRowStatePieces = kStates / kStatePiece;
    static constexpr int kStateRoundSteps = kWorkers / kRowStatePieces;
    static constexpr int kStateRounds = (kSteps + kStateRoundSteps - 1) / kStateRoundSteps;
    // Lanes of a channel lie so far apart. Shared memory serves half a warp at a time, 128 bytes of it in a cycle: where 16 lanes read 16
    // bytes of B and C each, the halves get two channels and eight lanes each, and not a channel and 16 lanes.
    static constexpr int kLaneStride = kLanes == 16 ? 2 : 1;

    // Whether the sums of a step are swapped by fours, step by step otherwise: a worker takes four, and the rows of two steps are 32.
    static constexpr bool kSwapped = kPiece == 4 && kChannels > 8 && kChannels <= 16;

    // Whether in each round every worker has a step of the tile.
    static constexpr bool kStateRoundsWhole = kSteps % kStateRoundSteps == 0;

    // Shared memory of one stage in floats. Pitches are padded so that lanes of a warp meet few banks twice.
    static constexpr int kInputPitch = 2 * kSteps + 4;    // (delta', delta' u) of the steps of one channel
    static constexpr int kInputPad = 8;                   // more between two pieces, whose pitches would be whole rounds of banks
    static constexpr int kMatrixPitch = 2 * kStates + 4;  // B and C of one step
    static constexpr int kPackedPitch = 4 * kStates + (kStates - 1) / 8 * 8 + 4;  // the same of four steps, packed: see MatrixLayout
    static constexpr int kSumPitch = kSwapped ? 16 : kChannels + 4;               // sums of the channels of one step
    static constexpr int kInputFloats = kChannels * kInputPitch + kRowPieces * kInputPad;
    static constexpr int kMatrixFloats = kSteps * kMatrixPitch;
    static constexpr int kSumFloats = kSteps * (kChannels + 4);
    static constexpr int kStageFloats = kInputFloats + kMatrixFloats + kSumFloats;
    static constexpr int kSharedBytes = 2 * kStageFloats * 4;

    static_assert(kStates % kLanes == 0 && kChannels % kPiece == 0 && kScanners % 32 == 0 && kSteps % kGroup == 0, "");
    static_assert(kSteps % kCheckpointSteps == 0 && kCheckpointSteps % kGroup == 0, "");
    static_assert(kWorkers % kRowPieces == 0 && kSteps % kRoundSteps == 0 && kWorkers % kRowStatePieces == 0, "");
    static_assert(!kSwapped || kLanes % 8 == 0, "a scanner has its sums in one place");
    static_assert(kStatePiece % kLaneStates == 0 || kLaneStates % kStatePiece == 0, "");

    // Where B of a state lies in its step; C is kLaneStates behind: each lane's states of B, then of C, so that what a scanner reads lies
    // together. That of first + i is that of first and of i, where first is the first of a worker's piece.
    static __device__ __forceinline__ constexpr int matrix_at(int state)
    {
        return state / kLaneStates * 2 * kLaneStates + state % kLaneStates;
    }

    // Where the sum of a channel lies; that of eight steps on is eight rows on.
    static __device__ __forceinline__ constexpr int sum_at(int step, int channel)
    {
        return step * kSumPitch + (kSwapped ? channel ^ step / 2 % 4 * 4 : channel);
    }
};

// How B and C of a tile lie in shared memory. As floats, each lane's states of B, then of C; but where a lane has one state and they come
// as bf16, as they come, B in the lower half of a word and C in the upper, four steps side by side: shared memory gives 128 bytes a cycle
// to all lanes together, which bounds scans with many lanes, and taking the two apart costs two operations of a pipe that is idle.
template <typename T, typename Shape, ScanPart kPart>
struct MatrixLayout {
    static constexpr bool kPacked = false;
};

template <typename Shape, ScanPart kPart>
struct MatrixLayout<bf16, Shape, kPart> {
    static constexpr bool kPacked = Shape::kLaneStates == 1 && kPart != ScanPart::end_state;
};

// The place of a state's word in the packed form; that of the next state of eight is four words on. A gap behind each eight, so that the
// workers of a warp, each with four states of a step, store to all banks.
template <typename Shape>
__device__ __forceinline__ int packed_at(int step, int state)
{
    return step / 4 * Shape::kPackedPitch + 4 * state + state / 8 * 8 + step % 4;
}

// Two barriers for each of the two stages; all threads of the block take part in each. At the first a scanner waits until the workers
// have filled the stage's inputs (and emptied its sums before); at the second the workers wait until the scanners are done with the
// stage.
constexpr int kReadyBarrier = 1;
constexpr int kDoneBarrier = 3;

// One thread's pieces of a matrix, tile after tile: a pointer that moves, so that a tile costs an addition and no multiplication.
template <typename T>
struct TileCursor {
    T* at;
    long long round_stride;
    long long tile_stride;

    __device__ __forceinline__ TileCursor(T* matrix, long long row, long long stride, long long column, int round_rows, int tile_rows)
        : at(matrix + row * stride + column), round_stride(round_rows * stride), tile_stride(tile_rows * stride)
    {
    }

    __device__ __forceinline__ T* round(int number) const { return at + number * round_stride; }

    __device__ __forceinline__ void next() { at += tile_stride; }
};

// A worker's pieces.
template <typename Shape>
struct WorkerPieces {
    int channel;     // in the block
    int count;       // of a piece's channels that exist
    int first_step;  // in the tile

    __device__ __forceinline__ WorkerPieces(int worker, int channels)
        : channel(worker % Shape::kRowPieces * Shape::kPiece), first_step(worker / Shape::kRowPieces)
    {
        int left = channels - channel;
        count = left < 0 ? 0 : left < Shape::kPiece ? left : Shape::kPiece;
    }

    __device__ __forceinline__ int step(int round) const { return first_step + round * Shape::kRoundSteps; }

    template <typename T>
    __device__ __forceinline__ TileCursor<T> cursor(T* matrix, long long row, long long stride, int block_channel) const
    {
        return {matrix, row + first_step, stride, block_channel + channel, Shape::kRoundSteps, Shape::kSteps};
    }

    // A value a channel; zeros where there are none.
    __device__ __forceinline__ void per_channel(const float* vector, int block_channel, float (&values)[Shape::kPiece]) const
    {
#pragma unroll
        for (int i = 0; i < Shape::kPiece; ++i) {
            values[i] = i < count && vector != nullptr ? vector[block_channel + channel + i] : 0.0f;
        }
    }
};

// What a worker does before the scanners.
template <typename T, typename Shape, ScanPart kPart, bool kAligned>
struct ScanLoader {
    static constexpr int kPiece = Shape::kPiece;
    static constexpr int kStatePiece = Shape::kStatePiece;

    WorkerPieces<Shape> pieces;
    int first_state;       // of this worker's pieces of B and C
    int first_state_step;
    bool delta_softplus;
    TileCursor<const T> u_cursor;
    TileCursor<const T> delta_cursor;
    TileCursor<const T> b_cursor;
    TileCursor<const T> c_cursor;
    float bias[kPiece];

    // Loads in flight.
    Stored<T, kPiece> u[Shape::kRounds];
    Stored<T, kPiece> delta[Shape::kRounds];
    Stored<T, kStatePiece> b[Shape::kStateRounds];
    Stored<T, kStatePiece> c[Shape::kStateRounds];

    __device__ __forceinline__ ScanLoader(
        const SelectiveScanForwardParams& p, int worker, long long row, int block_channel, int channels, int group)
        : pieces(worker, channels)
        , first_state(worker % Shape::kRowStatePieces * kStatePiece)
        , first_state_step(worker / Shape::kRowStatePieces)
        , delta_softplus(p.delta_softplus != 0)
        , u_cursor(pieces.cursor(static_cast<const T*>(p.u), row, p.u_stride, block_channel))
        , delta_cursor(pieces.cursor(static_cast<const T*>(p.delta), row, p.delta_stride, block_channel))
        , b_cursor(matrix_cursor(p.b, row, p.b_stride, group))
        , c_cursor(matrix_cursor(p.c, row, p.c_stride, group))
    {
        pieces.per_channel(p.delta_bias, block_channel, bias);
    }

    __device__ __forceinline__ TileCursor<const T> matrix_cursor(const void* matrix, long long row, long long stride, int group) const
    {
        int column = group * Shape::kStates + first_state;
        return {static_cast<const T*>(matrix), row + first_state_step, stride, column, Shape::kStateRoundSteps, Shape::kSteps};
    }

    // Starts the loads of the next tile, whose first `steps` steps exist; their values are needed only a tile later. Whole tiles, here and
    // below, are those of which every step and channel exists: what would ask for that is left out, a seventh of a worker's instructions.
    template <bool kWhole>
    __device__ __forceinline__ void load(int steps)
    {
#pragma unroll
        for (int round = 0; round < Shape::kRounds; ++round) {
            int there = kWhole ? kPiece : pieces.step(round) < steps ? pieces.count : 0;
            load_row<kAligned>(u_cursor.round(round), there, u[round]);
            load_row<kAligned>(delta_cursor.round(round), there, delta[round]);
        }
#pragma unroll
        for (int round = 0; round < Shape::kStateRounds; ++round) {
            int step = first_state_step + round * Shape::kStateRoundSteps;
            if (kWhole && !Shape::kStateRoundsWhole && step >= Shape::kSteps) {
                break;
            }
            int there = kWhole || step < steps ? kStatePiece : 0;
            load_row<kAligned>(b_cursor.round(round), there, b[round]);
            if constexpr (kPart != ScanPart::end_state) {
                load_row<kAligned>(c_cursor.round(round), there, c[round]);
            }
        }
        u_cursor.next();
        delta_cursor.next();
        b_cursor.next();
        c_cursor.next();
    }

    // Leaves the loaded tile in a stage, as scanners read it.
    template <bool kWhole>
    __device__ __forceinline__ void convert(int steps, float* stage) const
    {
        float* inputs = stage + pieces.channel * Shape::kInputPitch + pieces.channel / kPiece * Shape::kInputPad + 2 * pieces.first_step;
#pragma unroll
        for (int round = 0; round < Shape::kRounds; ++round) {
            float u_values[kPiece];
            float delta_values[kPiece];
            widen(u[round], u_values);
            widen(delta[round], delta_values);
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                delta_values[i] += bias[i];
            }
            if (delta_softplus) {
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    delta_values[i] = softplus_for<T>(delta_values[i]);
                }
            }
            if (!kWhole && pieces.step(round) >= steps) {
                // Past the end delta' is 0: the decay is then 1 and nothing is added.
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    delta_values[i] = 0.0f;
                }
            }
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                float2 value = {delta_values[i], delta_values[i] * u_values[i]};
                *reinterpret_cast<float2*>(inputs + i * Shape::kInputPitch + 2 * round * Shape::kRoundSteps) = value;
            }
        }
        float* matrices = stage + Shape::kInputFloats + first_state_step * Shape::kMatrixPitch + Shape::matrix_at(first_state);
#pragma unroll
        for (int round = 0; round < Shape::kStateRounds; ++round) {
            if (!Shape::kStateRoundsWhole && first_state_step + round * Shape::kStateRoundSteps >= Shape::kSteps) {
                break;
            }
            if constexpr (MatrixLayout<T, Shape, kPart>::kPacked) {
                unsigned int* words = reinterpret_cast<unsigned int*>(stage + Shape::kInputFloats);
                int step = first_state_step + round * Shape::kStateRoundSteps;
#pragma unroll
                for (int i = 0; i < kStatePiece; ++i) {
                    unsigned int two_b = word(b[round], i / 2);
                    unsigned int two_c = word(c[round], i / 2);
                    words[packed_at<Shape>(step, first_state) + 4 * i] =
                        i % 2 == 0 ? (two_b & 0xffffu) | two_c << 16 : two_b >> 16 | (two_c & 0xffff0000u);
                }
                continue;
            }
            float b_values[kStatePiece];
            float c_values[kStatePiece];
            widen(b[round], b_values);
            if constexpr (kPart != ScanPart::end_state) {
                widen(c[round], c_values);
            }
            float* row = matrices + round * Shape::kStateRoundSteps * Shape::kMatrixPitch;
            constexpr int kTogether = kStatePiece < Shape::kLaneStates ? kStatePiece : Shape::kLaneStates;
#pragma unroll
            for (int i = 0; i < kStatePiece; i += kTogether) {
                store(row + Shape::matrix_at(i), reinterpret_cast<const float(&)[kTogether]>(b_values[i]));
                if constexpr (kPart != ScanPart::end_state) {
                    store(row + Shape::matrix_at(i) + Shape::kLaneStates, reinterpret_cast<const float(&)[kTogether]>(c_values[i]));
                }
            }
        }
    }
};

// What a worker does after the scanners.
template <typename T, typename Shape, bool kAligned>
struct ScanStorer {
    static constexpr int kPiece = Shape::kPiece;

    WorkerPieces<Shape> pieces;
    bool has_skip;
    bool has_gate;
    TileCursor<const T> u_cursor;
    TileCursor<const T> z_cursor;
    TileCursor<T> y_cursor;
    float skip[kPiece];

    // Loads in flight.
    Stored<T, kPiece> u[Shape::kRounds];
    Stored<T, kPiece> z[Shape::kRounds];

    __device__ __forceinline__ ScanStorer(const SelectiveScanForwardParams& p, int worker, long long row, int block_channel, int channels)
        : pieces(worker, channels)
        , has_skip(p.d != nullptr)
        , has_gate(p.z != nullptr)
        , u_cursor(pieces.cursor(static_cast<const T*>(p.u), row, p.u_stride, block_channel))
        , z_cursor(pieces.cursor(static_cast<const T*>(p.z), row, p.z_stride, block_channel))
        , y_cursor(pieces.cursor(static_cast<T*>(p.y), row, p.y_stride, block_channel))
    {
        pieces.per_channel(p.d, block_channel, skip);
    }

    // Starts the loads of the next tile.
    template <bool kWhole>
    __device__ __forceinline__ void load(int steps)
    {
#pragma unroll
        for (int round = 0; round < Shape::kRounds; ++round) {
            int there = kWhole ? kPiece : pieces.step(round) < steps ? pieces.count : 0;
            if (has_skip) {
                load_row<kAligned>(u_cursor.round(round), there, u[round]);
            }
            if (has_gate) {
                load_row<kAligned>(z_cursor.round(round), there, z[round]);
            }
        }
        u_cursor.next();
        z_cursor.next();
    }

    // Takes the sums of the loaded tile out of a stage, adds D u, gates, and stores y.
    template <bool kWhole>
    __device__ __forceinline__ void store(int steps, const float* stage)
    {
        static_assert(!Shape::kSwapped || Shape::kRoundSteps % 8 == 0, "the rounds of a worker have their sums in one place");
        const float* sums = stage + Shape::kInputFloats + Shape::kMatrixFloats + Shape::sum_at(pieces.first_step, pieces.channel);
#pragma unroll
        for (int round = 0; round < Shape::kRounds; ++round) {
            float values[kPiece];
            mamba::load(sums + round * Shape::kRoundSteps * Shape::kSumPitch, values);
            if (has_skip) {
                float u_values[kPiece];
                widen(u[round], u_values);
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    values[i] = fmaf(skip[i], u_values[i], values[i]);
                }
            }
            if (has_gate) {
                float z_values[kPiece];
                widen(z[round], z_values);
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    values[i] *= silu_gate<T>(z_values[i]);
                }
            }
            if (kWhole || (pieces.count > 0 && pieces.step(round) < steps)) {
                store_row<kAligned>(y_cursor.round(round), pieces.count, values);
            }
        }
        y_cursor.next();
    }
};

template <typename T, typename Shape, ScanPart kPart, bool kPacked>
struct Scanner {
    static constexpr int kLaneStates = Shape::kLaneStates;
    static constexpr int kGroup = Shape::kGroup;
    // Of a lane and step: B, and C where it is needed.
    static constexpr int kMatrixValues = kPart != ScanPart::end_state ? 2 * kLaneStates : kLaneStates;

    float a[kLaneStates];
    float h[kLaneStates];
    float delta_sum;
    int channel;  // in the block
    int lane;     // of the channel

    __device__ __forceinline__ Scanner(
        const SelectiveScanForwardParams& p, int thread, long long state_row, int block_channel, int channels)
        : delta_sum(0.0f)
        , channel(thread / (Shape::kLanes * Shape::kLaneStride) * Shape::kLaneStride + thread % Shape::kLaneStride)
        , lane(thread / Shape::kLaneStride % Shape::kLanes)
    {
        bool exists = channel < channels;
        bool given = exists && p.initial_state != nullptr && kPart != ScanPart::end_state;
        int at = block_channel + channel;
#pragma unroll
        for (int n = 0; n < kLaneStates; ++n) {
            int state = lane * kLaneStates + n;
            a[n] = exists ? p.a[state * p.a_stride + at] * kLog2E : 0.0f;
            h[n] = given ? p.initial_state[(state_row + state) * p.initial_stride + at] : 0.0f;
        }
    }

    __device__ __forceinline__ void store_state(float* states, long long stride, long long state_row, int block_channel) const
    {
#pragma unroll
        for (int n = 0; n < kLaneStates; ++n) {
            states[(state_row + lane * kLaneStates + n) * stride + block_channel + channel] = h[n];
        }
    }

    // `steps` of the tile exist; the state before the first is that of checkpoint number `checkpoint`.
    __device__ __forceinline__ void tile(
        float* stage, const SelectiveScanForwardParams& p, int steps, long long checkpoint, int block_channel, bool exists)
    {
        const float* inputs = stage + channel * Shape::kInputPitch + channel / Shape::kPiece * Shape::kInputPad;
        const float* matrices = stage + Shape::kInputFloats + (kPacked ? packed_at<Shape>(0, lane) : lane * 2 * kLaneStates);
        // Stored only after the last load of the tile: the compiler may then load early, which it may not across a store that could alias.
        float sums[Shape::kSteps / Shape::kLanes];
#pragma unroll
        for (int start = 0; start < Shape::kSteps; start += kGroup) {
            if constexpr (kPart == ScanPart::checkpointed) {
                if (start % kCheckpointSteps == 0 && start < steps && exists) {
                    long long row = (checkpoint + start / kCheckpointSteps) * Shape::kStates;
                    store_state(p.checkpoints, p.checkpoint_stride, row, block_channel);
                }
            }
            float y[kGroup];
#pragma unroll
            for (int j = 0; j < kGroup; j += 4) {
                float bc[4][kMatrixValues];
                load_matrices(matrices, start + j, bc);
#pragma unroll
                for (int k = 0; k < 4; k += 2) {
                    float4 two = *reinterpret_cast<const float4*>(inputs + 2 * (start + j + k));
                    y[j + k] = step(two.x, two.y, bc[k]);
                    y[j + k + 1] = step(two.z, two.w, bc[k + 1]);
                }
            }
            if constexpr (kPart != ScanPart::end_state) {
#pragma unroll
                for (int j = 0; j < kGroup; j += Shape::kLanes) {
                    sums[(start + j) / Shape::kLanes] = lane_sums<Shape::kLanes, Shape::kLanes, Shape::kLaneStride>(y + j, lane);
                }
            }
        }
        if constexpr (kPart != ScanPart::end_state) {
            float* to = stage + Shape::kInputFloats + Shape::kMatrixFloats + Shape::sum_at(lane, channel);
#pragma unroll
            for (int i = 0; i < Shape::kSteps / Shape::kLanes; ++i) {
                to[i * Shape::kLanes * Shape::kSumPitch] = sums[i];
            }
        }
    }

    // B, then C, of this lane's states in four steps.
    __device__ __forceinline__ void load_matrices(const float* matrices, int start, float (&bc)[4][kMatrixValues]) const
    {
        if constexpr (kPacked) {
            float words[4];
            load(matrices + start / 4 * Shape::kPackedPitch, words);
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                unsigned int both = __float_as_uint(words[k]);
                bc[k][0] = __uint_as_float(both << 16);
                bc[k][1] = __uint_as_float(both & 0xffff0000u);
            }
        } else {
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                load(matrices + (start + k) * Shape::kMatrixPitch, bc[k]);
            }
        }
    }

    __device__ __forceinline__ float step(float delta, float delta_u, const float (&bc)[kMatrixValues])
    {
        float y = 0.0f;
#pragma unroll
        for (int n = 0; n < kLaneStates; ++n) {
            h[n] = fmaf(exp2_for<T>(delta * a[n]), h[n], delta_u * bc[n]);
            if constexpr (kPart != ScanPart::end_state) {
                y = n == 0 ? h[n] * bc[kLaneStates] : fmaf(h[n], bc[kLaneStates + n], y);
            }
        }
        if constexpr (kPart == ScanPart::end_state) {
            delta_sum += delta;
        }
        return y;
    }
};

template <typename T, typename Shape, ScanPart kPart, bool kAligned>
__global__ void __launch_bounds__(Shape::kThreads) selective_scan_forward(const __grid_constant__ SelectiveScanForwardParams p)
{
    extern __shared__ __align__(16) float shared[];
    barriers_begin(kReadyBarrier, 4, Shape::kThreads);
    int sequence = blockIdx.x / p.blocks_of_sequence;
    int group = blockIdx.x % p.blocks_of_sequence / p.blocks_of_group;
    int channel_in_group = blockIdx.x % p.blocks_of_sequence % p.blocks_of_group * Shape::kChannels;
    int first_channel = group * p.group_channels + channel_in_group;
    int left = p.group_channels - channel_in_group;
    int channels = left < Shape::kChannels ? left : Shape::kChannels;
    long long first_row = p.sequences.start(sequence);
    long long last_row = p.sequences.end(sequence);
    long long state_row = static_cast<long long>(p.sequences.slot(sequence)) * Shape::kStates;
    if (p.chunks > 1) {
        // A chunk is a sequence of its own, whose states lie by its number.
        long long chunk = static_cast<long long>(sequence) * p.chunks + blockIdx.y;
        first_row += blockIdx.y * p.chunk_length;
        last_row = first_row + p.chunk_length < last_row ? first_row + p.chunk_length : last_row;
        state_row = chunk * Shape::kStates;
    }
    long long rows = first_row < last_row ? last_row - first_row : 0;
    int full_tiles = static_cast<int>(rows / Shape::kSteps);
    int steps_behind = static_cast<int>(rows % Shape::kSteps);
    int tiles = full_tiles + (steps_behind > 0 ? 1 : 0);
    int whole_tiles = kAligned && channels == Shape::kChannels ? full_tiles : 0;
    int thread = threadIdx.x;

    // How many steps of a tile exist.
    auto steps = [&](int tile) { return tile < full_tiles ? Shape::kSteps : tile == full_tiles ? steps_behind : 0; };
    auto stage = [&](int tile) { return shared + (tile & 1) * Shape::kStageFloats; };
    auto ready = [](int tile) { return kReadyBarrier + (tile & 1); };
    auto done = [](int tile) { return kDoneBarrier + (tile & 1); };

    // Read from one lane, so that the compiler knows that whole warps take one branch.
    if (__shfl_sync(0xffffffffu, thread / 32, 0) < Shape::kScanners / 32) {
        Scanner<T, Shape, kPart, MatrixLayout<T, Shape, kPart>::kPacked> scanner(p, thread, state_row, first_channel, channels);
        long long checkpoint = kPart == ScanPart::checkpointed
            ? p.sequences.checkpoint(sequence) + (first_row - p.sequences.start(sequence)) / kCheckpointSteps
            : 0;
        for (int tile = 0; tile < tiles; ++tile) {
            barrier_sync(ready(tile), Shape::kThreads);
            scanner.tile(stage(tile), p, steps(tile), checkpoint, first_channel, scanner.channel < channels);
            checkpoint += Shape::kSteps / kCheckpointSteps;
            barrier_arrive(done(tile), Shape::kThreads);
        }
        if (scanner.channel < channels && p.final_state != nullptr) {
            scanner.store_state(p.final_state, p.final_stride, state_row, first_channel);
        }
        if (kPart == ScanPart::end_state && scanner.channel < channels && scanner.lane == 0) {
            p.delta_sums[state_row / Shape::kStates * p.channels + first_channel + scanner.channel] = scanner.delta_sum;
        }
        return;
    }

    ScanLoader<T, Shape, kPart, kAligned> loader(p, thread - Shape::kScanners, first_row, first_channel, channels, group);
    ScanStorer<T, Shape, kAligned> storer(p, thread - Shape::kScanners, first_row, first_channel, channels);
    auto load = [&](int tile) {
        if (tile < whole_tiles) {
            loader.template load<true>(Shape::kSteps);
        } else {
            loader.template load<false>(steps(tile));
        }
    };
    load(0);
    for (int tile = 0; tile < tiles + 2; ++tile) {
        if (tile >= 2) {
            barrier_sync(done(tile), Shape::kThreads);
            if (kPart != ScanPart::end_state && tile - 2 < whole_tiles) {
                storer.template store<true>(Shape::kSteps, stage(tile));
            } else if (kPart != ScanPart::end_state) {
                storer.template store<false>(steps(tile - 2), stage(tile));
            }
        }
        if (tile < tiles) {
            if (tile < whole_tiles) {
                loader.template convert<true>(Shape::kSteps, stage(tile));
            } else {
                loader.template convert<false>(steps(tile), stage(tile));
            }
            barrier_arrive(ready(tile), Shape::kThreads);
            load(tile + 1);
        }
        if (kPart != ScanPart::end_state && tile >= 1) {
            if (tile - 1 < whole_tiles) {
                storer.template load<true>(Shape::kSteps);
            } else {
                storer.template load<false>(steps(tile - 1));
            }
        }
    }
}

struct ScanChunksParams {
    const float* a;
    const float* initial_state;  // or null
    float* final_state;          // or null
    float* chunk_states;         // in: end states of all chunks, from zero; out: their states before
    const float* delta_sums;     // (chunks of all sequences, channels)
    long long a_stride;
    long long initial_stride;
    long long final_stride;
    SequenceTable sequences;
    int chunks;  // of a sequence
    int channels;
    int states;
    int backward;  // from the last chunk to the first: gradients of states, see selective_scan_backward.cu
};

// The second pass of a scan in chunks: along each state's chunks, h = exp(A * (sum of delta')) h + (end state from zero).
template <int kThreads>
__global__ void __launch_bounds__(kThreads) selective_scan_chunks(const __grid_constant__ ScanChunksParams p)
{
    int channel = blockIdx.x * kThreads + threadIdx.x;
    int state = blockIdx.y;
    int sequence = blockIdx.z;
    if (channel >= p.channels) {
        return;
    }
    long long slot_row = static_cast<long long>(p.sequences.slot(sequence)) * p.states + state;
    float a = p.a[state * p.a_stride + channel] * kLog2E;
    float h = p.initial_state != nullptr ? p.initial_state[slot_row * p.initial_stride + channel] : 0.0f;
#pragma unroll 4
    for (int i = 0; i < p.chunks; ++i) {
        long long chunk = static_cast<long long>(sequence) * p.chunks + (p.backward != 0 ? p.chunks - 1 - i : i);
        float* at = p.chunk_states + (chunk * p.states + state) * p.channels + channel;
        float end = *at;
        *at = h;
        h = fmaf(exp2_precise(p.delta_sums[chunk * p.channels + channel] * a), h, end);
    }
    if (p.final_state != nullptr) {
        p.final_state[slot_row * p.final_stride + channel] = h;
    }
}

// Every state size up to 32 * kLaneStates, and B or C that belong to the channel and not to the token (the ablations of table 6): a warp
// a channel, its lanes the states. Lane t of the warp loads and ends step t of every 32; the steps' values go around by shuffles. For
// what the kernel above does not take; slower. It alone takes complex A (the audio variant), without checkpoints; which of B and C are
// constant is then not the template's matter but p's, since steps are long anyway.
template <typename T, typename Number, int kLaneStates, bool kConstantB, bool kConstantC>
__global__ void __launch_bounds__(128) selective_scan_forward_any(const __grid_constant__ SelectiveScanForwardParams p)
{
    constexpr bool kIsComplex = kParts<Number> == 2;
    int lane = threadIdx.x % 32;
    int channel = blockIdx.x % p.blocks_of_sequence * (blockDim.x / 32) + threadIdx.x / 32;
    if (channel >= p.channels) {
        return;
    }
    int sequence = blockIdx.x / p.blocks_of_sequence;
    int states = p.states;
    bool constant_b = kIsComplex ? p.constant_b != 0 : kConstantB;
    bool constant_c = kIsComplex ? p.constant_c != 0 : kConstantC;
    long long first_row = p.sequences.start(sequence);
    long long last_row = p.sequences.end(sequence);
    long long state_row = static_cast<long long>(p.sequences.slot(sequence)) * states;
    const T* u = static_cast<const T*>(p.u) + channel;
    const T* delta = static_cast<const T*>(p.delta) + channel;
    const T* z = static_cast<const T*>(p.z) + channel;
    T* y = static_cast<T*>(p.y) + channel;
    int group_column = channel / p.group_channels * states * kParts<Number>;
    const T* token_b = static_cast<const T*>(p.b) + group_column;
    const T* token_c = static_cast<const T*>(p.c) + group_column;
    float bias = p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f;
    float skip = p.d != nullptr ? p.d[channel] : 0.0f;
    long long checkpoint_row = p.sequences.checkpoint(sequence) * states;

    Number a[kLaneStates];
    Number h[kLaneStates];
    Number b[kLaneStates];
    Number c[kLaneStates];
#pragma unroll
    for (int k = 0; k < kLaneStates; ++k) {
        int n = 32 * k + lane;
        bool exists = n < states;
        a[k] = exists ? rate<Number>(p, n, channel) : Number{};
        h[k] = exists && p.initial_state != nullptr
            ? number_in_column<Number>(p.initial_state + channel, state_row + n, p.initial_stride)
            : Number{};
        b[k] = exists && constant_b ? number_in_column<Number>(static_cast<const float*>(p.b) + channel, n, p.b_stride) : Number{};
        c[k] = exists && constant_c ? number_in_column<Number>(static_cast<const float*>(p.c) + channel, n, p.c_stride) : Number{};
    }

    auto store_states = [&](float* to, long long stride, long long first) {
#pragma unroll
        for (int k = 0; k < kLaneStates; ++k) {
            int n = 32 * k + lane;
            if (n < states) {
                store_in_column(to + channel, first + n, stride, h[k]);
            }
        }
    };

    for (long long start = first_row; start < last_row; start += 32) {
        int steps = last_row - start < 32 ? static_cast<int>(last_row - start) : 32;
        long long own_row = start + lane;
        bool own = lane < steps;
        float own_u = own ? to_float(u[own_row * p.u_stride]) : 0.0f;
        float own_delta = own ? to_float(delta[own_row * p.delta_stride]) + bias : 0.0f;
        own_delta = own && p.delta_softplus ? softplus_for<T>(own_delta) : own_delta;
        float own_delta_u = own_delta * own_u;

        // Sines are long code: with them steps are a loop, and sums lie in local memory.
        float sums[32];
#pragma unroll(kIsComplex ? 1 : 32)
        for (int step = 0; step < 32; ++step) {
            sums[step] = 0.0f;
            if (!kIsComplex && step % kCheckpointSteps == 0 && step < steps) {
                if (p.checkpoints != nullptr) {
                    store_states(p.checkpoints, p.checkpoint_stride, checkpoint_row);
                }
                checkpoint_row += states;
            }
            if (step < steps) {
                float step_delta = __shfl_sync(kAllLanes, own_delta, step);
                float step_delta_u = __shfl_sync(kAllLanes, own_delta_u, step);
                long long row = start + step;
#pragma unroll
                for (int k = 0; k < kLaneStates; ++k) {
                    int n = 32 * k + lane;
                    if (kIsComplex && 32 * k >= states) {
                        break;
                    }
                    if (!constant_b) {
                        b[k] = n < states ? number_in_row<Number>(token_b + row * p.b_stride, n) : Number{};
                    }
                    if (!constant_c) {
                        c[k] = n < states ? number_in_row<Number>(token_c + row * p.c_stride, n) : Number{};
                    }
                    h[k] = advance(decay_for<T>(step_delta, a[k]), h[k], step_delta_u, b[k]);
                    sums[step] = add_output(h[k], c[k], sums[step]);
                }
            }
        }

        float value = fmaf(skip, own_u, lane_sums<32, 32, 1>(sums, lane));
        if (own) {
            if (p.z != nullptr) {
                value *= silu_for<T>(to_float(z[own_row * p.z_stride]));
            }
            y[own_row * p.y_stride] = from_float<T>(value);
        }
    }

    if (p.final_state != nullptr) {
        store_states(p.final_state, p.final_stride, state_row);
    }
}

}  // namespace mamba
