// fiber.h: a stack of its own and the switch from one to another, in the thread of the operating system that calls.
//
// A fiber's stack lies at a multiple of its size (language/machine.h), so that code running on it finds its ThreadState from the stack
// pointer. The page below it is not accessible: running out of it is a fault, not a silent overwrite.
#pragma once

#include "../language/machine.h"

#include <cstddef>
#include <memory>
#include <vector>

namespace mamba_host {

class Fiber {
public:
    Fiber();
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    ThreadState& state() { return *reinterpret_cast<ThreadState*>(_stack + kStackBytes - sizeof(ThreadState)); }

    bool holds(const void* address) const;

private:
    friend class Context;
    std::byte* _stack;
};

// A point at which execution stopped: of a fiber, or of the thread that runs fibers.
class Context {
public:
    // Stops here and goes on at the target.
    void switch_to(Context& target);

    // Goes on at the target and never comes back.
    [[noreturn]] void leave_for(Context& target);

    // Makes the next switch to this call entry on the fiber's stack; entry must never return. The color moves the frames of neighbouring
    // fibers to different cache sets, which the alignment of the stacks would else make them share.
    void set_to(Fiber& fiber, void (*entry)(), unsigned int color);

    // To be called first by an entry; the origin is the context of the thread where it is that which switched here for the first time.
    static void arrived(Context* origin);

private:
    void* _stack_pointer = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    void* _fake_stack = nullptr;
    const void* _bottom = nullptr;
    size_t _bytes = 0;
#endif
};

// Stacks are costly to make and cheap to use again.
class FiberPool {
public:
    Fiber& take();

    void give_back(Fiber& fiber) { _free.push_back(&fiber); }

    // All are free again, whatever they were doing.
    void reclaim();

private:
    std::vector<std::unique_ptr<Fiber>> _all;
    std::vector<Fiber*> _free;
};

}  // namespace mamba_host
