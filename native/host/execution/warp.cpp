// warp.cpp: operations between the lanes of a warp (PTX ISA: shfl.sync, vote.sync, match.sync, redux.sync, bar.warp.sync).
#include "block.h"

namespace mamba_host {
namespace {

// The lane whose value a shuffle reads: shfl.sync's own arithmetic; outside the segment it is the lane itself.
unsigned int source_of(WarpOperation operation, unsigned int lane, int argument, int width)
{
    unsigned int segment = static_cast<unsigned int>(width);
    unsigned int first = lane & ~(segment - 1);
    unsigned int last = first | (segment - 1);
    unsigned int by = static_cast<unsigned int>(argument);
    switch (operation) {
    case WarpOperation::shuffle:
        return first | (by & (segment - 1));
    case WarpOperation::shuffle_up:
        return lane >= first + (by & 31u) ? lane - (by & 31u) : lane;
    case WarpOperation::shuffle_down:
        return lane + (by & 31u) <= last ? lane + (by & 31u) : lane;
    default: {
        unsigned int source = lane ^ (by & 31u);
        return source <= last ? source : lane;
    }
    }
}

bool is_shuffle(WarpOperation operation)
{
    return operation == WarpOperation::shuffle || operation == WarpOperation::shuffle_up || operation == WarpOperation::shuffle_down
        || operation == WarpOperation::shuffle_xor;
}

unsigned int combine(WarpOperation operation, unsigned int a, unsigned int b)
{
    int signed_a = static_cast<int>(a);
    int signed_b = static_cast<int>(b);
    switch (operation) {
    case WarpOperation::add:
        return a + b;
    case WarpOperation::minimum_signed:
        return signed_a < signed_b ? a : b;
    case WarpOperation::maximum_signed:
        return signed_a > signed_b ? a : b;
    case WarpOperation::minimum_unsigned:
        return a < b ? a : b;
    case WarpOperation::maximum_unsigned:
        return a > b ? a : b;
    case WarpOperation::bitwise_and:
        return a & b;
    case WarpOperation::bitwise_or:
        return a | b;
    case WarpOperation::bitwise_xor:
        return a ^ b;
    default:
        return 0;
    }
}

unsigned int next_lane(unsigned int& lanes)
{
    unsigned int lane = static_cast<unsigned int>(__builtin_ctz(lanes));
    lanes &= lanes - 1;
    return lane;
}

}  // namespace

// Apart, so that the many stacks on which lanes wait hold no texts.
[[gnu::noinline]] void Block::fail_exchange(unsigned int mask, int width)
{
    if ((mask >> (_current % kWarpLanes) & 1u) == 0) {
        fail(kLaunchFailed, where() + " takes part in a warp operation whose mask does not name it.");
    }
    if ((mask & _exited[_current / kWarpLanes]) != 0) {
        fail(kLaunchFailed, where() + " waits for lanes of its warp that have exited.\n" + stuck_report());
    }
    fail(kLaunchFailed, where() + " shuffles with a width of " + std::to_string(width) + ", which is no power of two up to 32.");
}

unsigned long long Block::exchange(WarpOperation operation, unsigned int mask, unsigned long long value, int argument, int width)
{
    unsigned int warp = _current / kWarpLanes;
    unsigned int lane = _current % kWarpLanes;
    unsigned int own = 1u << lane;
    if ((mask & own) == 0 || width < 1 || width > 32 || (width & (width - 1)) != 0) {
        fail_exchange(mask, width);
    }

    Thread& thread = _threads[_current];
    thread.status = Status::in_warp;
    thread.call = {operation, mask, argument, width};
    Warp& its = _warps[warp];
    if (its.waiting == 0) {
        its.first = thread.call;
        its.are_alike = true;
    } else {
        its.are_alike = its.are_alike && thread.call == its.first;
    }
    its.values[lane] = value;
    its.waiting |= own;
    if ((mask & _exited[warp]) != 0) {
        fail_exchange(mask, width);
    }

    // Lanes that a block of an odd size does not have are not waited for.
    unsigned int lanes = mask & lanes_of(warp);
    bool all_there = (lanes & ~its.waiting) == 0;
    for (unsigned int left = its.are_alike ? 0 : lanes; all_there && left != 0;) {
        const WarpCall& other = _threads[warp * kWarpLanes + next_lane(left)].call;
        all_there = other.operation == operation && other.mask == mask;
    }
    if (all_there) {
        complete(warp, lanes);
    } else {
        wait();
    }
    return its.results[lane];
}

// Computes all results before any lane goes on: a fast one may hand in its next value before a slow one has read this one.
void Block::complete(unsigned int warp, unsigned int lanes)
{
    Warp& its = _warps[warp];
    WarpOperation operation = _threads[warp * kWarpLanes + static_cast<unsigned int>(__builtin_ctz(lanes))].call.operation;
    if (operation == WarpOperation::synchronize) {
        // There is nothing to give.
    } else if (is_shuffle(operation)) {
        shuffle(warp, lanes);
    } else if (operation == WarpOperation::match_any || operation == WarpOperation::match_all) {
        for (unsigned int left = lanes; left != 0;) {
            unsigned int lane = next_lane(left);
            unsigned int equal = 0;
            for (unsigned int others = lanes; others != 0;) {
                unsigned int other = next_lane(others);
                equal |= its.values[other] == its.values[lane] ? 1u << other : 0u;
            }
            its.results[lane] = operation == WarpOperation::match_any || equal == lanes ? equal : 0;
        }
    } else {
        unsigned int left = lanes;
        unsigned int first = next_lane(left);
        auto result = static_cast<unsigned int>(its.values[first]);
        if (operation == WarpOperation::ballot) {
            result <<= first;
            while (left != 0) {
                unsigned int lane = next_lane(left);
                result |= static_cast<unsigned int>(its.values[lane]) << lane;
            }
        } else {
            while (left != 0) {
                result = combine(operation, result, static_cast<unsigned int>(its.values[next_lane(left)]));
            }
        }
        for (unsigned int all = lanes; all != 0;) {
            its.results[next_lane(all)] = result;
        }
    }

    _runnable[warp] |= lanes;
    _runnable_warps |= 1u << warp;
    its.waiting &= ~lanes;
}

void Block::shuffle(unsigned int warp, unsigned int lanes)
{
    Warp& its = _warps[warp];
    constexpr unsigned int kAll = 0xffffffffu;
    // Most often a whole warp exchanges in pairs.
    if (lanes == kAll && its.are_alike && its.first.operation == WarpOperation::shuffle_xor && its.first.width == kWarpLanes) {
        unsigned int by = static_cast<unsigned int>(its.first.argument) & (kWarpLanes - 1);
        for (unsigned int lane = 0; lane < kWarpLanes; ++lane) {
            its.results[lane] = its.values[lane ^ by];
        }
        return;
    }
    for (unsigned int left = lanes; left != 0;) {
        unsigned int lane = next_lane(left);
        const WarpCall& call = _threads[warp * kWarpLanes + lane].call;
        unsigned int source = source_of(call.operation, lane, call.argument, call.width);
        its.results[lane] = (lanes >> source & 1u) != 0 ? its.values[source] : 0x0101010101010101ull * _launch.poison;
    }
}

}  // namespace mamba_host
