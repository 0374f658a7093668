#include "block.h"

#include <sched.h>

#include <cstdio>
#include <utility>

namespace mamba_host {
namespace {

std::string text_of(uint3 index)
{
    return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

uint3 thread_index(unsigned int rank, dim3 block) { return {rank % block.x, rank / block.x % block.y, rank / block.x / block.y}; }

}  // namespace

Failure Block::run(const BlockLaunch& launch, uint3 index)
{
    _launch = launch;
    _index = index;
    _thread_count = launch.block.x * launch.block.y * launch.block.z;
    _warp_count = (_thread_count + kWarpLanes - 1) / kWarpLanes;
    _exited_count = 0;
    _yields = 0;
    _failure = {};
    _runnable_warps = 0;
    _barriers = {};
    for (unsigned int warp = 0; warp < _warp_count; ++warp) {
        _runnable[warp] = lanes_of(warp);
        _runnable_warps |= 1u << warp;
        _exited[warp] = 0;
        _warps[warp].waiting = 0;
    }
    for (unsigned int thread = 0; thread < _thread_count; ++thread) {
        _threads[thread].status = Status::not_started;
        _threads[thread].fiber = nullptr;
    }
    _fibers.reclaim();

    std::uint32_t warp = first_of(_runnable_warps);
    unsigned int first = warp * kWarpLanes + first_of(_runnable[warp]);
    _came_from_main = true;
    _is_running = true;
    start(first);
    _main.switch_to(_threads[first].context);
    _is_running = false;
    return _failure;
}

// The first code of a fiber.
void Block::enter()
{
    Block& block = current();
    Context::arrived(block._came_from_main ? &block._main : nullptr);
    block._came_from_main = false;
    block.run_threads();
}

// Runs the current thread, then on the same stack others that have not started, until it meets one that has a stack.
void Block::run_threads()
{
    for (;;) {
        _launch.kernel->invoke(_launch.arguments);

        Thread& ended = _threads[_current];
        ended.status = Status::exited;
        _exited[_current / kWarpLanes] |= 1u << (_current % kWarpLanes);
        ++_exited_count;
        set_not_runnable(_current);

        unsigned int next;
        if (!find_next(_current, next)) {
            if (_exited_count < _thread_count) {
                fail(kLaunchFailed, stuck_report());
            }
            ended.context.leave_for(_main);
        }
        if (_threads[next].fiber != nullptr) {
            _current = next;
            _fibers.give_back(*ended.fiber);
            ended.context.leave_for(_threads[next].context);
        }
        _threads[next].fiber = ended.fiber;
        ended.fiber = nullptr;
        _current = next;
        _threads[next].status = Status::can_run;
        ThreadState& state = _threads[next].fiber->state();
        state.thread_index = thread_index(next, _launch.block);
        state.rank = next;
        state.attempts = 0;
    }
}

// Gives a thread a stack and makes it the current one; the caller switches to it.
void Block::start(unsigned int thread)
{
    Thread& started = _threads[thread];
    started.fiber = &_fibers.take();
    started.status = Status::can_run;
    started.context.set_to(*started.fiber, &Block::enter, thread);
    started.fiber->state() = ThreadState{thread_index(thread, _launch.block), _index, _launch.block, _launch.grid,
                                         _launch.dynamic_shared, this, thread, 0};
    _current = thread;
}

void Block::go_on_with(unsigned int thread)
{
    Thread& from = _threads[_current];
    if (_threads[thread].fiber == nullptr) {
        start(thread);
    }
    _current = thread;
    from.context.switch_to(_threads[thread].context);
}

void Block::wait()
{
    set_not_runnable(_current);
    unsigned int next;
    if (!find_next(_current, next)) {
        fail(kLaunchFailed, stuck_report());
    }
    go_on_with(next);
}

void Block::let_others_run()
{
    this_thread().attempts = 0;
    if (++_yields % 1024 == 0 && std::chrono::steady_clock::now() > _launch.deadline) {
        fail(kLaunchTimeout, where() + " has waited too long; what it waits for may never happen.");
    }
    unsigned int next;
    if (find_after(_current, next)) {
        go_on_with(next);
    } else {
        // Only a thread of another block can bring what this one waits for.
        sched_yield();
    }
}

// The stack is never unwound: what a caller holds is lost, so the report is moved out of its hands.
void Block::fail(int error, std::string report)
{
    _failure = {error, std::move(report)};
    Context nobody;
    nobody.leave_for(_main);
}

int Block::barrier(BarrierKind kind, unsigned int id, unsigned int threads, int predicate)
{
    if (id >= kMaxBarriers) {
        fail(kLaunchFailed, where() + " uses barrier " + std::to_string(id) + "; there are " + std::to_string(kMaxBarriers) + ".");
    }
    if (threads % kWarpLanes != 0) {
        fail(kLaunchFailed, where() + " uses a barrier of " + std::to_string(threads) + " threads, which are not whole warps.");
    }
    Barrier& barrier = _barriers[id];
    unsigned int expected = threads == 0 ? _thread_count : threads;
    if (barrier.arrived == 0) {
        barrier.expected = expected;
        barrier.kind = kind;
        barrier.trues = 0;
    } else if (barrier.expected != expected) {
        fail(kLaunchFailed, where() + " comes to barrier " + std::to_string(id) + " of " + std::to_string(expected)
                                + " threads, where others wait for " + std::to_string(barrier.expected) + ".");
    } else if (barrier.kind != kind && barrier.kind != BarrierKind::arrive && kind != BarrierKind::arrive) {
        fail(kLaunchFailed, where() + " comes to barrier " + std::to_string(id)
                                + " by another kind of __syncthreads than those that wait there.");
    }
    if (kind != BarrierKind::arrive) {
        barrier.kind = kind;
    }

    barrier.trues += predicate != 0;
    ++barrier.arrived;
    Thread& thread = _threads[_current];
    if (barrier.arrived < barrier.expected) {
        if (kind == BarrierKind::arrive) {
            return 0;
        }
        barrier.waiting[_current / kWarpLanes] |= 1u << (_current % kWarpLanes);
        thread.status = Status::at_barrier;
        thread.barrier = id;
        wait();
        return thread.barrier_result;
    }

    release(barrier);
    return thread.barrier_result;
}

void Block::release(Barrier& barrier)
{
    int result = barrier.kind == BarrierKind::count_true ? static_cast<int>(barrier.trues)
        : barrier.kind == BarrierKind::all_true          ? barrier.trues == barrier.expected
                                                         : barrier.trues != 0;
    _threads[_current].barrier_result = result;
    for (unsigned int warp = 0; warp < _warp_count; ++warp) {
        for (std::uint32_t left = barrier.waiting[warp]; left != 0; left &= left - 1) {
            Thread& thread = _threads[warp * kWarpLanes + static_cast<unsigned int>(__builtin_ctz(left))];
            thread.status = Status::can_run;
            thread.barrier_result = result;
        }
        if (barrier.waiting[warp] != 0) {
            _runnable[warp] |= barrier.waiting[warp];
            _runnable_warps |= 1u << warp;
            barrier.waiting[warp] = 0;
        }
    }
    barrier.arrived = 0;
}

unsigned int Block::active_mask() const
{
    unsigned int warp = _current / kWarpLanes;
    return lanes_of(warp) & ~_exited[warp];
}

unsigned int Block::lanes_of(unsigned int warp) const
{
    unsigned int lanes = _thread_count - warp * kWarpLanes;
    return lanes >= kWarpLanes ? 0xffffffffu : (1u << lanes) - 1;
}

void Block::set_not_runnable(unsigned int thread)
{
    unsigned int warp = thread / kWarpLanes;
    _runnable[warp] &= ~(1u << (thread % kWarpLanes));
    if (_runnable[warp] == 0) {
        _runnable_warps &= ~(1u << warp);
    }
}

std::uint32_t Block::first_of(std::uint32_t bits) const
{
    int position = _launch.order == Order::forward ? __builtin_ctz(bits) : 31 - __builtin_clz(bits);
    return static_cast<std::uint32_t>(position);
}

// Those of the bits whose turn comes after that of the position.
std::uint32_t Block::beyond(std::uint32_t bits, unsigned int position) const
{
    std::uint32_t own = 1u << position;
    return _launch.order == Order::forward ? bits & ~(own | (own - 1)) : bits & (own - 1);
}

// The thread's own warp first: an operation of the warp is then over before the stacks of others drive it out of the cache.
bool Block::find_next(unsigned int thread, unsigned int& next) const
{
    unsigned int warp = thread / kWarpLanes;
    if (_runnable[warp] == 0) {
        if (_runnable_warps == 0) {
            return false;
        }
        std::uint32_t later = beyond(_runnable_warps, warp);
        warp = first_of(later != 0 ? later : _runnable_warps);
    }
    next = warp * kWarpLanes + first_of(_runnable[warp]);
    return true;
}

// The next in turn, for a thread that could go on itself but steps aside: everyone comes to run.
bool Block::find_after(unsigned int thread, unsigned int& next) const
{
    unsigned int warp = thread / kWarpLanes;
    std::uint32_t lanes = beyond(_runnable[warp], thread % kWarpLanes);
    if (lanes == 0) {
        std::uint32_t later = beyond(_runnable_warps, warp);
        warp = first_of(later != 0 ? later : _runnable_warps);
        lanes = _runnable[warp];
    }
    next = warp * kWarpLanes + first_of(lanes);
    return next != thread;
}

std::string Block::where() const
{
    return "Thread " + text_of(thread_index(_current, _launch.block)) + " of block " + text_of(_index);
}

bool Block::guards(const void* address) const
{
    return _threads[_current].fiber != nullptr && _threads[_current].fiber->holds(address);
}

std::string Block::state_of(unsigned int thread) const
{
    const Thread& it = _threads[thread];
    switch (it.status) {
    case Status::exited:
        return "exited";
    case Status::at_barrier: {
        const Barrier& barrier = _barriers[it.barrier];
        std::string name = it.barrier == 0 ? "__syncthreads (barrier 0" : "barrier " + std::to_string(it.barrier) + " (";
        return "wait at " + name + (it.barrier == 0 ? ", " : "") + std::to_string(barrier.arrived) + " of "
            + std::to_string(barrier.expected) + " arrived)";
    }
    case Status::in_warp: {
        if ((_warps[thread / kWarpLanes].waiting >> (thread % kWarpLanes) & 1u) == 0) {
            return "could run";
        }
        static const char* const names[] = {"__syncwarp", "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync",
                                            "__ballot_sync", "__match_any_sync", "__match_all_sync", "__reduce_add_sync",
                                            "__reduce_min_sync", "__reduce_max_sync", "__reduce_min_sync", "__reduce_max_sync",
                                            "__all_sync or __reduce_and_sync", "__any_sync or __reduce_or_sync", "__reduce_xor_sync"};
        char mask[16];
        std::snprintf(mask, sizeof mask, "0x%08x", it.call.mask);
        return std::string("wait in ") + names[static_cast<int>(it.call.operation)] + " with mask " + mask;
    }
    default:
        return "could run";
    }
}

// Neighbours in the same state are told in one line.
std::string Block::stuck_report() const
{
    std::string report = "No thread of block " + text_of(_index) + " can go on:";
    for (unsigned int from = 0; from < _thread_count;) {
        std::string state = state_of(from);
        unsigned int to = from + 1;
        while (to < _thread_count && state_of(to) == state) {
            ++to;
        }
        std::string first = std::to_string(from);
        report += to == from + 1 ? "\n  thread " + first : "\n  threads " + first + " to " + std::to_string(to - 1);
        report += ": " + state;
        from = to;
    }
    return report;
}

}  // namespace mamba_host
