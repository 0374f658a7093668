#include "environment.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>

namespace mamba_host {
namespace {

std::string text(const char* name, const char* otherwise)
{
    const char* value = std::getenv((std::string("MAMBACUDA_HOST_") + name).c_str());
    return value != nullptr && *value != '\0' ? value : otherwise;
}

long number(const char* name, long otherwise) { return std::strtol(text(name, std::to_string(otherwise).c_str()).c_str(), nullptr, 10); }

Environment read()
{
    constexpr long kDefaultMemory = 4l << 30;
    constexpr long kNoLimit = std::numeric_limits<long>::max();
    long processors = std::max(1l, static_cast<long>(std::thread::hardware_concurrency()));
    return {
        static_cast<int>(std::lround(10 * std::strtod(text("ARCHITECTURE", "9.0").c_str(), nullptr))),
        static_cast<int>(std::max(1l, number("MULTIPROCESSORS", 4))),
        static_cast<std::size_t>(number("MEMORY", kDefaultMemory)),
        static_cast<std::size_t>(number("PINNED_MEMORY", kNoLimit)),
        static_cast<unsigned int>(std::max(1l, number("THREADS", processors))),
        std::chrono::seconds(std::max(1l, number("TIMEOUT", 60))),
        number("CHECK", 0) != 0,
        text("CXX", "g++"),
    };
}

}  // namespace

const Environment& Environment::get()
{
    static const Environment environment = read();
    return environment;
}

}  // namespace mamba_host
