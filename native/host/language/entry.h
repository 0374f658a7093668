// entry.h: the way into a kernel: its parameters, and a call with arguments that lie somewhere in memory.
//
// The shim's libnvrtc writes one Entry for each kernel behind the source.
#pragma once

#include "machine.h"

namespace mamba_host {

template <unsigned long... kIndices>
struct Indices {};

// Of a __device__ or __constant__ variable: it has a name and nothing to call.
template <auto kAddress>
struct Entry {
    static Kernel describe(const char* expression)
    {
        return {expression, reinterpret_cast<void (*)()>(kAddress), nullptr, nullptr, 0};
    }
};

template <typename... Parameters, void (*kFunction)(Parameters...)>
struct Entry<kFunction> {
    static constexpr Parameter parameters[sizeof...(Parameters) + 1] = {{sizeof(Parameters), alignof(Parameters)}..., {0, 0}};

    template <unsigned long... kIndices>
    static void call([[maybe_unused]] void* const* arguments, Indices<kIndices...>)
    {
        kFunction(*static_cast<Parameters*>(arguments[kIndices])...);
    }

    static void invoke(void* const* arguments) { call(arguments, Indices<__integer_pack(sizeof...(Parameters))...>()); }

    static Kernel describe(const char* expression)
    {
        return {expression, reinterpret_cast<void (*)()>(kFunction), &invoke, parameters, sizeof...(Parameters)};
    }
};

}  // namespace mamba_host
