// faults.cuh: how a kernel tells that an operand's content was wrong, since it cannot throw.
//
// The record lies in host memory that the device writes; the host looks at it after it has waited for the stream. The first fault stays.
#pragma once

namespace mamba {

enum class FaultKind : int {
    none = 0,
    row_number = 1,    // GatherRows: an index is not a row of the source
    token_id = 2,      // EmbeddingForward, EmbeddingBackward, LogProbabilities: a token is not in the vocabulary
    target = 3,        // CrossEntropy: the target of a row is not in the vocabulary
    logit = 4,         // SampleTokens: the logit of a token (the value) is NaN or plus infinity
    no_token = 5,      // SampleTokens: all logits of a row are minus infinity
    cache_length = 6,  // AttentionDecode: a sequence has more tokens than its cache has room for, or fewer than none
};

// The layout of MambaCuda.Kernels.FaultRecord.
struct Fault {
    int kind;
    int reserved;
    long long position;  // which element of the operand
    long long value;     // what it was
};

// Many threads may report at once, and across the bus nothing orders them but the system; any one complete record will do.
__device__ __forceinline__ void report(Fault* fault, FaultKind kind, long long position, long long value)
{
    if (threadIdx.x == 0) {
        fault->position = position;
        fault->value = value;
        __threadfence_system();
        fault->kind = static_cast<int>(kind);
    }
}

}  // namespace mamba
