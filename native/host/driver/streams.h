// streams.h: streams, events and graphs. Work is done when it is put in, so a stream never has any left; what remains of streams is the
// order of a capture.
#pragma once

#include "cuda_types.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace mamba_host {

struct Work {
    enum class Kind { kernel, copy, fill };

    Kind kind;
    const Function* function;  // of a kernel
    std::function<CUresult()> run;
};

class Graph {
public:
    std::vector<Work> nodes;
};

// Several streams may put work into one graph, one after the other: the order of the calls is one that respects all their dependencies.
struct Capture {
    Stream* origin;
    std::thread::id thread;
    int mode;
    Graph graph;
    bool is_spoiled = false;
    std::set<Stream*> joined;    // all others that put in work
    std::set<Stream*> unjoined;  // those of them that the origin has not waited for since
};

class Stream {
public:
    explicit Stream(int stream_priority) : priority(stream_priority) {}

    const int priority;
    std::shared_ptr<Capture> capture;
};

struct Event {
    bool measures_time;
    std::optional<std::chrono::steady_clock::time_point> happened;
    std::weak_ptr<Capture> capture;  // where it was recorded in a captured stream
    Stream* captured_stream = nullptr;
};

// The stream of a handle: null, 1 and 2 are the default streams.
Stream& stream_of(CUstream handle);

// Runs the work, or writes it into the graph where the stream is being captured. One at a time on the whole device.
CUresult submit(CUstream handle, Work work);

// What a call answers that would wait for the device: an error where the calling thread captures, which the call spoils.
CUresult check_may_wait();

}  // namespace mamba_host
