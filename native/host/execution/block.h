// block.h: one thread block at a time, its threads as fibers.
//
// A thread runs until it must wait for others, then the next that can run goes on; so a block needs one thread of the operating system,
// and the same block runs in the same order every time. A thread that never waits needs no stack of its own: the next one starts on the
// stack where it ended.
#pragma once

#include "failure.h"
#include "fiber.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

namespace mamba_host {

constexpr unsigned int kMaxBlockThreads = 1024;
constexpr unsigned int kMaxBarriers = 16;

// In which order the threads of a block, and the blocks of a grid, get their turns. Results must not depend on it.
enum class Order { forward, backward };

struct BlockLaunch {
    const Kernel* kernel;
    void* const* arguments;
    dim3 grid;
    dim3 block;
    void* dynamic_shared;
    Order order;
    unsigned char poison;  // what undefined values are made of
    std::chrono::steady_clock::time_point deadline;
};

class Block {
public:
    // Runs all threads of one block to their ends.
    Failure run(const BlockLaunch& launch, uint3 index);

    // What kernels call, on the stack of the thread that calls.
    int barrier(BarrierKind kind, unsigned int id, unsigned int threads, int predicate);
    unsigned long long exchange(WarpOperation operation, unsigned int mask, unsigned long long value, int argument, int width);
    unsigned int active_mask() const;
    void let_others_run();
    [[noreturn]] void fail(int error, std::string report);

    // The thread that runs now, as "thread (3,0,0) of block (0,0,0)"; also for a handler of signals.
    std::string where() const;
    bool is_running() const { return _is_running; }
    bool guards(const void* address) const;

    static Block& current() { return *static_cast<Block*>(this_thread().block); }

private:
    // An operation of a warp, as a lane calls it.
    struct WarpCall {
        WarpOperation operation = WarpOperation::synchronize;
        unsigned int mask = 0;
        int argument = 0;
        int width = 0;

        bool operator==(const WarpCall& other) const
        {
            return operation == other.operation && mask == other.mask && argument == other.argument && width == other.width;
        }
    };

    enum class Status : unsigned char { not_started, can_run, at_barrier, in_warp, exited };

    struct Thread {
        Context context;
        Fiber* fiber = nullptr;
        Status status = Status::not_started;
        // At a barrier:
        unsigned int barrier = 0;
        int barrier_result = 0;
        // In an operation of the warp:
        WarpCall call;
    };

    // What the lanes of a warp have handed in, and what they get. Apart from threads, since all of it is gone through for each operation.
    struct Warp {
        std::uint32_t waiting = 0;  // lanes that have come and wait for others
        WarpCall first;             // that of the lane that came first
        bool are_alike = true;      // whether the others that wait have called the same
        std::array<unsigned long long, kWarpLanes> values{};
        std::array<unsigned long long, kWarpLanes> results{};
    };

    struct Barrier {
        unsigned int expected = 0;
        unsigned int arrived = 0;
        unsigned int trues = 0;
        BarrierKind kind = BarrierKind::wait;
        std::array<std::uint32_t, kMaxBlockThreads / kWarpLanes> waiting{};
    };

    static void enter();
    void run_threads();
    void start(unsigned int thread);
    // Lets another thread run; comes back when this one can.
    void wait();
    void go_on_with(unsigned int thread);
    void set_not_runnable(unsigned int thread);
    bool find_next(unsigned int thread, unsigned int& next) const;
    bool find_after(unsigned int thread, unsigned int& next) const;
    std::uint32_t first_of(std::uint32_t bits) const;
    std::uint32_t beyond(std::uint32_t bits, unsigned int position) const;
    void release(Barrier& barrier);
    [[noreturn]] void fail_exchange(unsigned int mask, int width);
    void complete(unsigned int warp, unsigned int lanes);
    void shuffle(unsigned int warp, unsigned int lanes);
    unsigned int lanes_of(unsigned int warp) const;
    std::string stuck_report() const;
    std::string state_of(unsigned int thread) const;

    BlockLaunch _launch{};
    uint3 _index{};
    unsigned int _thread_count = 0;
    unsigned int _warp_count = 0;
    unsigned int _current = 0;
    unsigned int _exited_count = 0;
    unsigned int _yields = 0;
    bool _is_running = false;
    bool _came_from_main = false;
    Failure _failure;
    Context _main;
    FiberPool _fibers;
    std::uint32_t _runnable_warps = 0;
    std::array<std::uint32_t, kMaxBlockThreads / kWarpLanes> _runnable{};
    std::array<std::uint32_t, kMaxBlockThreads / kWarpLanes> _exited{};
    std::array<Warp, kMaxBlockThreads / kWarpLanes> _warps{};
    std::array<Barrier, kMaxBarriers> _barriers{};
    std::array<Thread, kMaxBlockThreads> _threads{};
};

}  // namespace mamba_host
