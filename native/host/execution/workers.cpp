#include "workers.h"

#include "faults.h"

namespace mamba_host {
namespace {

constexpr std::size_t kSharedCapacity = 256 * 1024;

}  // namespace

Workers& Workers::all()
{
    // Never destroyed: a process that ends does not wait for its workers.
    static auto* const workers = new Workers;
    return *workers;
}

void Workers::run(unsigned int count, const std::function<void(Worker&)>& job)
{
    std::unique_lock lock(_gate);
    while (_threads.size() < count) {
        _threads.emplace_back(&Workers::work, this, static_cast<unsigned int>(_threads.size()));
    }
    _job = &job;
    _wanted = count;
    _left = count;
    ++_job_number;
    _job_given.notify_all();
    _job_done.wait(lock, [this] { return _left == 0; });
    _job = nullptr;
}

void Workers::work(unsigned int number)
{
    auto worker = std::make_unique<Worker>(kSharedCapacity);
    attribute_faults_to(worker->block);
    unsigned long done = 0;
    std::unique_lock lock(_gate);
    for (;;) {
        _job_given.wait(lock, [&] { return _job != nullptr && _job_number != done; });
        done = _job_number;
        if (number >= _wanted) {
            continue;
        }
        const auto& job = *_job;
        lock.unlock();
        job(*worker);
        lock.lock();
        if (--_left == 0) {
            _job_done.notify_one();
        }
    }
}

}  // namespace mamba_host
