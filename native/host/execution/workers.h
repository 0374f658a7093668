// workers.h: the threads of the operating system that run blocks.
//
// Kernels never run on the thread that launches them: that one may belong to a runtime (.NET's) that interrupts it by signals and knows
// where its stack ends.
#pragma once

#include "block.h"
#include "shared_memory.h"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace mamba_host {

struct Worker {
    explicit Worker(std::size_t shared_capacity) : shared(shared_capacity) {}

    Block block;
    DynamicShared shared;
};

class Workers {
public:
    static Workers& all();

    // Runs the job on so many threads at once and waits until all are done. One job at a time.
    void run(unsigned int count, const std::function<void(Worker&)>& job);

private:
    Workers() = default;
    void work(unsigned int number);

    std::mutex _gate;
    std::condition_variable _job_given;
    std::condition_variable _job_done;
    std::vector<std::thread> _threads;
    const std::function<void(Worker&)>* _job = nullptr;
    unsigned long _job_number = 0;
    unsigned int _wanted = 0;
    unsigned int _left = 0;
};

}  // namespace mamba_host
