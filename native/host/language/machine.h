// machine.h: what a compiled kernel and the library that runs it (libcuda.so.1 of the shim) agree on.
//
// A kernel's module is a shared library of its own. It calls the running library through a table that is handed to it when it is loaded,
// because both are loaded privately and see none of each other's symbols.
#pragma once

#include "vector_types.h"

namespace mamba_host {

constexpr unsigned int kInterfaceVersion = 1;

// Every device thread has a stack of this size at a multiple of this size, and its ThreadState at the upper end of it.
#if defined(__SANITIZE_ADDRESS__)
constexpr unsigned long kStackBytes = 512 * 1024;
#else
constexpr unsigned long kStackBytes = 128 * 1024;
#endif

constexpr unsigned int kWarpLanes = 32;

struct ThreadState {
    uint3 thread_index;
    uint3 block_index;
    dim3 block_dimensions;
    dim3 grid_dimensions;
    void* dynamic_shared;
    void* block;           // the Block that runs it
    unsigned int rank;     // number of the thread in its block
    unsigned int attempts; // atomics and the like since the thread last let others run
};

// The running thread's state, found from the stack pointer: no thread-local variable, which a compiler may keep across a switch.
inline ThreadState& this_thread()
{
    unsigned long stack;
#if defined(__x86_64__)
    asm("movq %%rsp, %0" : "=r"(stack));
#elif defined(__aarch64__)
    asm("mov %0, sp" : "=r"(stack));
#else
#error "The host shim switches stacks on x86-64 and aarch64 only."
#endif
    return *reinterpret_cast<ThreadState*>((stack | (kStackBytes - 1)) + 1 - sizeof(ThreadState));
}

enum class BarrierKind : int { wait, arrive, count_true, all_true, any_true };

enum class WarpOperation : int {
    synchronize,
    shuffle,
    shuffle_up,
    shuffle_down,
    shuffle_xor,
    ballot,
    match_any,
    match_all,
    add,
    minimum_signed,
    maximum_signed,
    minimum_unsigned,
    maximum_unsigned,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
};

struct Runtime {
    // Threads 0 stands for all of the block.
    int (*barrier)(BarrierKind kind, unsigned int id, unsigned int threads, int predicate);
    unsigned long long (*exchange)(WarpOperation operation, unsigned int mask, unsigned long long value, int argument, int width);
    unsigned int (*active_mask)();
    void (*let_others_run)();
    unsigned long long (*clock)();
    // Ends the launch with a CUresult and a report; does not return.
    void (*fail)(int error, const char* report);
};

struct Parameter {
    unsigned int bytes;
    unsigned int alignment;
};

struct Kernel {
    const char* expression;                       // as it was asked for
    void (*function)();                           // the kernel itself, for its name
    void (*invoke)(void* const* arguments);       // one thread
    const Parameter* parameters;
    unsigned int parameter_count;
};

struct Module {
    unsigned int interface_version;
    unsigned int architecture;  // 90 for 9.0
    unsigned int is_virtual;
    const Kernel* kernels;
    unsigned int kernel_count;
    const Runtime** runtime;
};

}  // namespace mamba_host
