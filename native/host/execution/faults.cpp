#include "faults.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace mamba_host {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
struct sigaction previous[4];
AddressDescription describe_address;
thread_local Block* running;
thread_local Failure* found;

[[noreturn]] void land()
{
    running->fail(found->error, std::move(found->report));
}

void* stack_pointer(ucontext_t* context)
{
#if defined(__x86_64__)
    return reinterpret_cast<void*>(context->uc_mcontext.gregs[REG_RSP]);
#else
    return reinterpret_cast<void*>(context->uc_mcontext.sp);
#endif
}

// Goes on in land() on the upper end of the thread's own stack: nothing on it is needed any more, and the lower end may be full.
void continue_in_land(ucontext_t* context)
{
    auto state = (reinterpret_cast<unsigned long>(stack_pointer(context)) | (kStackBytes - 1)) + 1 - sizeof(ThreadState);
    auto top = (state - 256) & ~63ul;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(reinterpret_cast<void*>(state + sizeof(ThreadState) - kStackBytes + 4096), kStackBytes - 4096);
#endif
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(top - 8);
    context->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&land);
#else
    context->uc_mcontext.sp = top;
    context->uc_mcontext.pc = reinterpret_cast<unsigned long>(&land);
#endif
}

Failure describe(int signal, const siginfo_t* info, const void* stack)
{
    std::string where = running->where();
    switch (signal) {
    case SIGFPE:
        return {kLaunchFailed, where + " divides an integer by zero, or its lowest value by -1. (A GPU gives an undefined number.)"};
    case SIGILL:
        return {kLaunchFailed, where + " comes to an instruction that is none."};
    default:
        auto distance = static_cast<const char*>(info->si_addr) - static_cast<const char*>(stack);
        if (distance > -65536 && distance < 65536) {
            return {kLaunchFailed, where + " uses more than " + std::to_string(kStackBytes / 1024) + " KB of local memory."};
        }
        char address[32];
        std::snprintf(address, sizeof address, "%p", info->si_addr);
        return {kIllegalAddress, where + " touches address " + address + ", " + describe_address(info->si_addr) + "."};
    }
}

void pass_on(int signal, siginfo_t* info, void* context)
{
    for (unsigned int i = 0; i < 4; ++i) {
        if (kSignals[i] != signal) {
            continue;
        }
        if ((previous[i].sa_flags & SA_SIGINFO) != 0 && previous[i].sa_sigaction != nullptr) {
            previous[i].sa_sigaction(signal, info, context);
        } else if (previous[i].sa_handler != SIG_DFL && previous[i].sa_handler != SIG_IGN) {
            previous[i].sa_handler(signal);
        } else {
            // The instruction runs again when this returns, and ends the process as it would have.
            sigaction(signal, &previous[i], nullptr);
        }
    }
}

void handle(int signal, siginfo_t* info, void* context)
{
    auto* machine = static_cast<ucontext_t*>(context);
    if (running == nullptr || !running->is_running() || !running->guards(stack_pointer(machine))) {
        pass_on(signal, info, context);
        return;
    }
    *found = describe(signal, info, stack_pointer(machine));
    continue_in_land(machine);
}

}  // namespace

void catch_faults(AddressDescription describe)
{
    static std::once_flag once;
    std::call_once(once, [describe] {
        describe_address = describe;
        for (unsigned int i = 0; i < 4; ++i) {
            struct sigaction action {};
            action.sa_sigaction = &handle;
            // The same signal may come again from the next launch: the handler is never returned from in the usual sense.
            action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
            sigemptyset(&action.sa_mask);
            sigaction(kSignals[i], &action, &previous[i]);
        }
    });
}

void attribute_faults_to(Block& block)
{
    constexpr std::size_t kHandlerStackBytes = 128 * 1024;
    running = &block;
    found = new Failure;
    stack_t stack{};
    stack.ss_size = kHandlerStackBytes;
    stack.ss_sp = mmap(nullptr, kHandlerStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, nullptr);
}

}  // namespace mamba_host
