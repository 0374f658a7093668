#include "grid.h"

#include "../environment.h"
#include "workers.h"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace mamba_host {
namespace {

uint3 block_index(unsigned long long number, dim3 grid)
{
    return {static_cast<unsigned int>(number % grid.x), static_cast<unsigned int>(number / grid.x % grid.y),
            static_cast<unsigned int>(number / grid.x / grid.y)};
}

Failure run_block(Worker& worker, const GridLaunch& launch, std::chrono::steady_clock::time_point deadline, uint3 index)
{
    launch.static_shared.poison(launch.poison);
    void* dynamic = worker.shared.prepare(launch.dynamic_bytes, launch.poison);
    BlockLaunch block{launch.kernel, launch.arguments, launch.grid, launch.block, dynamic, launch.order, launch.poison, deadline};
    Failure failure = worker.block.run(block, index);
    if (!failure && !worker.shared.is_intact()) {
        return {kIllegalAddress, "A thread of block (" + std::to_string(index.x) + "," + std::to_string(index.y) + ","
                                     + std::to_string(index.z) + ") wrote past the " + std::to_string(launch.dynamic_bytes)
                                     + " bytes of dynamic shared memory."};
    }
    return failure;
}

}  // namespace

Failure run_grid(const GridLaunch& launch)
{
    unsigned long long blocks = static_cast<unsigned long long>(launch.grid.x) * launch.grid.y * launch.grid.z;
    unsigned int workers = launch.in_turn ? 1 : Environment::get().worker_threads;
    auto threads = static_cast<unsigned int>(launch.is_cooperative ? blocks : std::min<unsigned long long>(blocks, workers));
    auto deadline = std::chrono::steady_clock::now() + Environment::get().launch_limit;

    std::atomic<unsigned long long> taken = 0;
    std::atomic<bool> has_failed = false;
    std::mutex gate;
    Failure first;
    Workers::all().run(threads, [&](Worker& worker) {
        while (!has_failed) {
            unsigned long long turn = taken++;
            if (turn >= blocks) {
                break;
            }
            unsigned long long number = launch.order == Order::forward ? turn : blocks - 1 - turn;
            if (Failure failure = run_block(worker, launch, deadline, block_index(number, launch.grid))) {
                std::lock_guard lock(gate);
                if (!has_failed.exchange(true)) {
                    first = std::move(failure);
                }
            }
        }
    });
    return first;
}

const Runtime* runtime()
{
    static const Runtime table = {
        [](BarrierKind kind, unsigned int id, unsigned int threads, int predicate) {
            return Block::current().barrier(kind, id, threads, predicate);
        },
        [](WarpOperation operation, unsigned int mask, unsigned long long value, int argument, int width) {
            return Block::current().exchange(operation, mask, value, argument, width);
        },
        [] { return Block::current().active_mask(); },
        [] { Block::current().let_others_run(); },
        []() -> unsigned long long {
            auto now = std::chrono::steady_clock::now().time_since_epoch();
            return static_cast<unsigned long long>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
        },
        [](int error, const char* report) {
            Block& block = Block::current();
            block.fail(error, block.where() + ": " + report);
        },
    };
    return &table;
}

}  // namespace mamba_host
