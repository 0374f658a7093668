// sequences.cuh: which rows of a packed batch belong to which sequence, and where each keeps its recurrent state.
//
// Sequences lie one after the other with nothing between them. Where all have one length and sequence i keeps its state in slot i, no table
// is there, and nothing is read.
#pragma once

namespace mamba {

// A scan that is to be led back leaves its states before every so many steps of a sequence: checkpoints, those of a sequence together.
constexpr int kCheckpointSteps = 16;

// The layout of MambaCuda.Kernels.SequenceTable.
struct SequenceTable {
    const long long* starts;       // first row of each sequence, then the number of rows; null where all have one length
    const int* slots;              // state slot of each sequence; null where sequence i has slot i
    const long long* checkpoints;  // first checkpoint of each sequence; null where all have one length
    long long length;              // of each sequence, where all have one
    int count;

    __device__ __forceinline__ long long start(int sequence) const { return starts != nullptr ? starts[sequence] : sequence * length; }

    __device__ __forceinline__ long long end(int sequence) const { return start(sequence + 1); }

    __device__ __forceinline__ long long checkpoint(int sequence) const
    {
        return checkpoints != nullptr ? checkpoints[sequence] : sequence * ((length + kCheckpointSteps - 1) / kCheckpointSteps);
    }

    __device__ __forceinline__ int slot(int sequence) const { return slots != nullptr ? slots[sequence] : sequence; }
};

// A block's chunk of a sequence. Blocks are numbered so that sequence s has its chunks from start(s) / length + s on: these numbers leave
// room for all chunks of s before those of s + 1, and the search needs no table but the starts. Some blocks have a first step behind the
// sequence's end.
struct SequenceChunk {
    int sequence;
    long long first;  // step of the sequence

    // `length` is that of a chunk.
    __device__ __forceinline__ SequenceChunk(const SequenceTable& sequences, unsigned int block, unsigned int length)
    {
        int low = 0;
        int high = sequences.count - 1;
        while (low < high) {
            int middle = low + (high - low + 1) / 2;
            if (number_of_first(sequences, middle, length) <= block) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        sequence = low;
        first = static_cast<long long>((block - number_of_first(sequences, low, length)) * length);
    }

    static __device__ __forceinline__ unsigned long long number_of_first(const SequenceTable& sequences, int sequence, unsigned int length)
    {
        return static_cast<unsigned long long>(sequences.start(sequence)) / length + static_cast<unsigned int>(sequence);
    }
};

}  // namespace mamba
