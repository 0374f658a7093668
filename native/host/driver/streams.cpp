#include "streams.h"

#include <algorithm>
#include <mutex>

namespace mamba_host {
namespace {

std::mutex device_gate;
std::recursive_mutex capture_gate;
std::set<std::shared_ptr<Capture>> captures;

using Lock = std::lock_guard<std::recursive_mutex>;

bool is_default(CUstream handle) { return reinterpret_cast<std::uintptr_t>(handle) <= 2; }

}  // namespace

Stream& stream_of(CUstream handle)
{
    static Stream default_stream(0);
    return is_default(handle) ? default_stream : *handle;
}

CUresult submit(CUstream handle, Work work)
{
    {
        Lock lock(capture_gate);
        Stream& stream = stream_of(handle);
        if (stream.capture != nullptr) {
            if (stream.capture->is_spoiled) {
                return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
            }
            if (stream.capture->origin != &stream) {
                stream.capture->unjoined.insert(&stream);
            }
            stream.capture->graph.nodes.push_back(std::move(work));
            return CUDA_SUCCESS;
        }
    }
    std::lock_guard lock(device_gate);
    return work.run();
}

CUresult check_may_wait()
{
    Lock lock(capture_gate);
    constexpr int kGlobal = 0;
    constexpr int kThreadLocal = 1;
    for (const auto& capture : captures) {
        if (capture->mode == kGlobal || (capture->mode == kThreadLocal && capture->thread == std::this_thread::get_id())) {
            capture->is_spoiled = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return CUDA_SUCCESS;
}

}  // namespace mamba_host

using namespace mamba_host;

extern "C" {

CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned int, int priority)
{
    *stream = new Stream(std::clamp(priority, -5, 0));
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
    Lock lock(capture_gate);
    if (stream->capture != nullptr) {
        stream->capture->is_spoiled = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    delete stream;
    return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream stream, int* priority)
{
    *priority = stream_of(stream).priority;
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle)
{
    Lock lock(capture_gate);
    Stream& stream = stream_of(handle);
    if (stream.capture != nullptr) {
        stream.capture->is_spoiled = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream stream) { return cuStreamSynchronize(stream); }

CUresult cuCtxSynchronize() { return check_may_wait(); }

CUresult cuEventCreate(CUevent* created, unsigned int flags)
{
    constexpr unsigned int kDisableTiming = 2;
    *created = new Event{(flags & kDisableTiming) == 0, {}, {}};
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event)
{
    delete event;
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream handle)
{
    Lock lock(capture_gate);
    Stream& stream = stream_of(handle);
    event->capture = stream.capture;
    event->captured_stream = stream.capture != nullptr ? &stream : nullptr;
    if (stream.capture == nullptr) {
        event->happened = std::chrono::steady_clock::now();
    }
    return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned int)
{
    Lock lock(capture_gate);
    auto capture = event->capture.lock();
    if (capture == nullptr) {
        return CUDA_SUCCESS;
    }
    Stream& stream = stream_of(handle);
    if (stream.capture != nullptr && stream.capture != capture) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    capture->unjoined.erase(event->captured_stream);
    if (capture->origin != &stream) {
        stream.capture = capture;
        capture->joined.insert(&stream);
        capture->unjoined.insert(&stream);
    }
    return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event) { return event->capture.expired() ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED; }

CUresult cuEventSynchronize(CUevent event) { return cuEventQuery(event); }

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end)
{
    if (!start->measures_time || !end->measures_time || !start->happened || !end->happened) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(*end->happened - *start->happened).count();
    return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture_v2(CUstream handle, int mode)
{
    Lock lock(capture_gate);
    Stream& stream = stream_of(handle);
    // The legacy default stream waits for all others, which no graph can say.
    if (is_default(handle) || stream.capture != nullptr) {
        return is_default(handle) ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_ERROR_INVALID_VALUE;
    }
    stream.capture = std::make_shared<Capture>(Capture{&stream, std::this_thread::get_id(), mode, {}, false, {}, {}});
    captures.insert(stream.capture);
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph)
{
    Lock lock(capture_gate);
    Stream& stream = stream_of(handle);
    *graph = nullptr;
    auto capture = stream.capture;
    if (capture == nullptr || capture->origin != &stream) {
        return capture == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    captures.erase(capture);
    stream.capture = nullptr;
    for (Stream* other : capture->joined) {
        other->capture = nullptr;
    }
    if (capture->is_spoiled) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (!capture->unjoined.empty()) {
        return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
    *graph = new Graph(std::move(capture->graph));
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, int* status)
{
    Lock lock(capture_gate);
    const auto& capture = stream_of(handle).capture;
    *status = capture == nullptr ? 0 : capture->is_spoiled ? 2 : 1;
    return CUDA_SUCCESS;
}

}  // extern "C"
