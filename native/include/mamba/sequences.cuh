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

}  // namespace mamba
