#include "checked_run.h"

#include "../environment.h"
#include "device_memory.h"
#include "errors.h"

namespace mamba_host {
namespace {

// All ones is NaN; the other is an ordinary number in every format (0.7480 as a float), which comparisons do not treat as they do NaN.
constexpr unsigned char kPoison[2] = {0xff, 0x3f};

Failure run_once(const GridLaunch& launch)
{
    Failure failure = run_grid(launch);
    if (auto damage = DeviceMemory::get().find_damage(); damage && !failure) {
        failure = {kIllegalAddress, "It writes outside its buffers: " + *damage};
    }
    return failure;
}

}  // namespace

CUresult run_checked(GridLaunch launch, const std::string& title)
{
    DeviceMemory& memory = DeviceMemory::get();
    bool twice = Environment::get().checks;
    DeviceMemory::Snapshot before;
    if (twice) {
        before = memory.save();
        // Blocks that happen to run side by side would hide that their order matters.
        launch.in_turn = true;
    }

    launch.poison = kPoison[0];
    Failure failure = run_once(launch);
    if (twice && !failure) {
        DeviceMemory::Snapshot after = memory.save();
        memory.restore(before);
        launch.order = Order::backward;
        launch.poison = kPoison[1];
        failure = run_once(launch);
        if (!failure) {
            if (auto difference = memory.find_difference(after)) {
                failure = {kLaunchFailed, "Its result depends on uninitialised shared memory or on the order of its threads: "
                                              + *difference + " in two runs from the same memory."};
            }
        }
    }
    return failure ? report(failure.error, title + ": " + failure.report) : CUDA_SUCCESS;
}

}  // namespace mamba_host
