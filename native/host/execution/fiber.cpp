#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// mamba_host_switch(&from, to): saves what a called function must preserve, and the stack pointer; loads the other's.
// Vector registers and flags need no saving: a call may change them.
extern "C" void mamba_host_switch(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
.pushsection .text
.p2align 4
.globl mamba_host_switch
.hidden mamba_host_switch
.type mamba_host_switch, @function
mamba_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size mamba_host_switch, . - mamba_host_switch
.popsection
)");

namespace {

// Six registers, the entry as return address, and a zero for the caller of the entry: at the entry the stack is as after a call.
constexpr std::size_t kSavedWords = 8;
constexpr std::size_t kEntryWord = 6;

}  // namespace
#elif defined(__aarch64__)
asm(R"(
.pushsection .text
.p2align 4
.globl mamba_host_switch
.hidden mamba_host_switch
.type mamba_host_switch, %function
mamba_host_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x2, sp
    str x2, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size mamba_host_switch, . - mamba_host_switch
.popsection
)");

namespace {

constexpr std::size_t kSavedWords = 20;
constexpr std::size_t kEntryWord = 11;

}  // namespace
#endif

namespace mamba_host {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kColorBytes = 320;
constexpr unsigned int kColors = 25;

void* prepared_stack_pointer(std::byte* stack, void (*entry)(), unsigned int color)
{
    auto top = reinterpret_cast<std::uintptr_t>(stack) + kStackBytes - sizeof(ThreadState) - (color % kColors) * kColorBytes;
    auto* words = reinterpret_cast<std::uintptr_t*>(top & ~std::uintptr_t{63}) - kSavedWords;
    for (std::size_t i = 0; i < kSavedWords; ++i) {
        words[i] = 0;
    }
    words[kEntryWord] = reinterpret_cast<std::uintptr_t>(entry);
    return words;
}

}  // namespace

Fiber::Fiber()
{
    // Twice the size surely holds a whole stack at a multiple of it; the rest is given back.
    auto* region = static_cast<std::byte*>(
        mmap(nullptr, 2 * kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (region == MAP_FAILED) {
        throw std::bad_alloc();
    }
    auto misfit = reinterpret_cast<std::uintptr_t>(region) % kStackBytes;
    std::size_t before = misfit == 0 ? 0 : kStackBytes - misfit;
    if (before != 0) {
        munmap(region, before);
    }
    munmap(region + before + kStackBytes, kStackBytes - before);
    _stack = region + before;
    mprotect(_stack, kPageBytes, PROT_NONE);
}

Fiber::~Fiber() { munmap(_stack, kStackBytes); }

bool Fiber::holds(const void* address) const
{
    auto* byte = static_cast<const std::byte*>(address);
    return byte >= _stack && byte < _stack + kStackBytes;
}

#if defined(__SANITIZE_ADDRESS__)

void Context::set_to(Fiber& fiber, void (*entry)(), unsigned int color)
{
    __asan_unpoison_memory_region(fiber._stack + kPageBytes, kStackBytes - kPageBytes);
    _stack_pointer = prepared_stack_pointer(fiber._stack, entry, color);
    _fake_stack = nullptr;
    _bottom = fiber._stack + kPageBytes;
    _bytes = kStackBytes - kPageBytes;
}

void Context::switch_to(Context& target)
{
    __sanitizer_start_switch_fiber(&_fake_stack, target._bottom, target._bytes);
    mamba_host_switch(&_stack_pointer, target._stack_pointer);
    __sanitizer_finish_switch_fiber(_fake_stack, nullptr, nullptr);
}

void Context::leave_for(Context& target)
{
    void* nobody;
    __sanitizer_start_switch_fiber(nullptr, target._bottom, target._bytes);
    mamba_host_switch(&nobody, target._stack_pointer);
    __builtin_unreachable();
}

void Context::arrived(Context* origin)
{
    const void* bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (origin != nullptr) {
        origin->_bottom = bottom;
        origin->_bytes = bytes;
    }
}

#else

void Context::set_to(Fiber& fiber, void (*entry)(), unsigned int color)
{
    _stack_pointer = prepared_stack_pointer(fiber._stack, entry, color);
}

void Context::switch_to(Context& target) { mamba_host_switch(&_stack_pointer, target._stack_pointer); }

void Context::leave_for(Context& target)
{
    void* nobody;
    mamba_host_switch(&nobody, target._stack_pointer);
    __builtin_unreachable();
}

void Context::arrived(Context*) {}

#endif

Fiber& FiberPool::take()
{
    if (_free.empty()) {
        _all.push_back(std::make_unique<Fiber>());
        return *_all.back();
    }
    Fiber& fiber = *_free.back();
    _free.pop_back();
    return fiber;
}

void FiberPool::reclaim()
{
    _free.clear();
    // The first made is taken first, so that a small block touches few stacks.
    for (auto fiber = _all.rbegin(); fiber != _all.rend(); ++fiber) {
        _free.push_back(fiber->get());
    }
}

}  // namespace mamba_host
