#include "errors.h"

#include <cstdio>

namespace mamba_host {
namespace {

struct Named {
    CUresult error;
    const char* name;
    const char* text;
};

#define MAMBA_HOST_ERROR(name, text) {name, #name, text}
constexpr Named kErrors[] = {
    MAMBA_HOST_ERROR(CUDA_SUCCESS, "no error"),
    MAMBA_HOST_ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    MAMBA_HOST_ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    MAMBA_HOST_ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    MAMBA_HOST_ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    MAMBA_HOST_ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    MAMBA_HOST_ERROR(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    MAMBA_HOST_ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    MAMBA_HOST_ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    MAMBA_HOST_ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    MAMBA_HOST_ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    MAMBA_HOST_ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
    MAMBA_HOST_ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    MAMBA_HOST_ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    MAMBA_HOST_ERROR(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated"),
    MAMBA_HOST_ERROR(CUDA_ERROR_ASSERT, "device-side assert triggered"),
    MAMBA_HOST_ERROR(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part or all of the requested memory range is already mapped"),
    MAMBA_HOST_ERROR(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "pointer does not correspond to a registered memory region"),
    MAMBA_HOST_ERROR(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    MAMBA_HOST_ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    MAMBA_HOST_ERROR(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch"),
    MAMBA_HOST_ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    MAMBA_HOST_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    MAMBA_HOST_ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    MAMBA_HOST_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not initiated in this stream"),
    MAMBA_HOST_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
    MAMBA_HOST_ERROR(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, "the graph update was not performed because it included changes which "
                                                           "violated constraints specific to instantiated graph update"),
    MAMBA_HOST_ERROR(CUDA_ERROR_UNKNOWN, "unknown error"),
};
#undef MAMBA_HOST_ERROR

const Named* find(CUresult error)
{
    for (const Named& named : kErrors) {
        if (named.error == error) {
            return &named;
        }
    }
    return nullptr;
}

thread_local CUresult reported_error;
thread_local std::string reported_text;

}  // namespace

CUresult report(CUresult error, const std::string& text)
{
    std::fprintf(stderr, "MambaCuda host device: %s\n", text.c_str());
    reported_error = error;
    reported_text = std::string(find(error)->text) + ": " + text;
    return error;
}

}  // namespace mamba_host

extern "C" {

CUresult cuGetErrorName(CUresult error, const char** name)
{
    const auto* named = mamba_host::find(error);
    *name = named == nullptr ? nullptr : named->name;
    return named == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char** text)
{
    const auto* named = mamba_host::find(error);
    if (named == nullptr) {
        *text = nullptr;
        return CUDA_ERROR_INVALID_VALUE;
    }
    bool is_reported = error != CUDA_SUCCESS && error == mamba_host::reported_error;
    *text = is_reported ? mamba_host::reported_text.c_str() : named->text;
    return CUDA_SUCCESS;
}

}  // extern "C"
