// failure.h: why a launch did not end well.
#pragma once

#include <string>

namespace mamba_host {

struct Failure {
    int error = 0;       // a CUresult; 0 where all is well
    std::string report;  // whole sentences, for a person

    explicit operator bool() const { return error != 0; }
};

constexpr int kOutOfMemory = 2;
constexpr int kIllegalAddress = 700;
constexpr int kLaunchTimeout = 702;
constexpr int kAssert = 710;
constexpr int kMisalignedAddress = 716;
constexpr int kLaunchFailed = 719;

}  // namespace mamba_host
