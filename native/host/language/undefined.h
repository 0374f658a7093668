// undefined.h: vector accesses at addresses that are no multiple of their alignment, and indices outside arrays of known size.
//
// g++ checks them (-fsanitize=alignment,bounds) and calls these functions, whose names and arguments are those of its run-time library
// (libsanitizer, ubsan_handlers.h). With the whole of that library, in builds with sanitizers, they are not needed.
#pragma once

#include "threads.h"

#if defined(MAMBA_HOST_REPORTS_UNDEFINED)

namespace mamba_host {

struct SourceLocation {
    const char* file;
    unsigned int line;
    unsigned int column;
};

struct TypeDescription {
    unsigned short kind;
    unsigned short information;
    char name[1];  // in quotes, zero-terminated
};

struct TypeMismatch {
    SourceLocation location;
    const TypeDescription* type;
    unsigned char log2_alignment;
    unsigned char access;
};

struct OutOfBounds {
    SourceLocation location;
    const TypeDescription* array;
    const TypeDescription* index;
};

}  // namespace mamba_host

extern "C" {

[[noreturn]] inline __attribute__((used, cold)) void __ubsan_handle_type_mismatch_v1_abort(
    mamba_host::TypeMismatch* data, unsigned long address)
{
    char text[512];
    __builtin_snprintf(text, sizeof text, "%s(%u): %s at address 0x%lx, which is no multiple of %u", data->location.file,
                       data->location.line, data->type->name, address, 1u << data->log2_alignment);
    mamba_host_runtime->fail(716, text);
    __builtin_unreachable();
}

[[noreturn]] inline __attribute__((used, cold)) void __ubsan_handle_out_of_bounds_abort(mamba_host::OutOfBounds* data, unsigned long index)
{
    char text[512];
    __builtin_snprintf(text, sizeof text, "%s(%u): index %ld is outside of %s", data->location.file, data->location.line,
                       static_cast<long>(index), data->array->name);
    mamba_host_runtime->fail(700, text);
    __builtin_unreachable();
}

}  // extern "C"

#endif
