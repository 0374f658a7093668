// programs.cpp: NVRTC's functions.
#include "compilation.h"

#include <cstring>
#include <memory>
#include <new>

namespace mamba_host {

struct Program {
    Source source;
    Compiled compiled;
    bool was_compiled = false;
};

}  // namespace mamba_host

using nvrtcProgram = mamba_host::Program*;

namespace {

enum nvrtcResult : int {
    NVRTC_SUCCESS = 0,
    NVRTC_ERROR_OUT_OF_MEMORY = 1,
    NVRTC_ERROR_PROGRAM_CREATION_FAILURE = 2,
    NVRTC_ERROR_INVALID_INPUT = 3,
    NVRTC_ERROR_INVALID_PROGRAM = 4,
    NVRTC_ERROR_INVALID_OPTION = 5,
    NVRTC_ERROR_COMPILATION = 6,
    NVRTC_ERROR_BUILTIN_OPERATION_FAILURE = 7,
    NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION = 8,
    NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION = 9,
    NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID = 10,
    NVRTC_ERROR_INTERNAL_ERROR = 11,
};

nvrtcResult copy_out(const std::string& text, char* destination)
{
    std::memcpy(destination, text.data(), text.size());
    return NVRTC_SUCCESS;
}

}  // namespace

extern "C" {

nvrtcResult nvrtcVersion(int* major, int* minor)
{
    *major = 13;
    *minor = 0;
    return NVRTC_SUCCESS;
}

const char* nvrtcGetErrorString(nvrtcResult result)
{
    static const char* const names[] = {
        "NVRTC_SUCCESS",
        "NVRTC_ERROR_OUT_OF_MEMORY",
        "NVRTC_ERROR_PROGRAM_CREATION_FAILURE",
        "NVRTC_ERROR_INVALID_INPUT",
        "NVRTC_ERROR_INVALID_PROGRAM",
        "NVRTC_ERROR_INVALID_OPTION",
        "NVRTC_ERROR_COMPILATION",
        "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE",
        "NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION",
        "NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION",
        "NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID",
        "NVRTC_ERROR_INTERNAL_ERROR",
    };
    return static_cast<unsigned int>(result) < sizeof names / sizeof *names ? names[result] : "NVRTC_ERROR unknown";
}

nvrtcResult nvrtcGetNumSupportedArchs(int* count)
{
    *count = static_cast<int>(mamba_host::supported_architectures().size());
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetSupportedArchs(int* architectures)
{
    for (int number : mamba_host::supported_architectures()) {
        *architectures++ = number;
    }
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char* name, int header_count, const char* const* headers,
                               const char* const* include_names)
{
    if (source == nullptr || header_count < 0) {
        return NVRTC_ERROR_INVALID_INPUT;
    }
    auto created = std::make_unique<mamba_host::Program>();
    created->source.text = source;
    created->source.name = name == nullptr ? "default_program" : name;
    for (int i = 0; i < header_count; ++i) {
        created->source.headers[include_names[i]] = headers[i];
    }
    *program = created.release();
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program)
{
    delete *program;
    *program = nullptr;
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcAddNameExpression(nvrtcProgram program, const char* expression)
{
    if (program->was_compiled) {
        return NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION;
    }
    program->source.expressions.emplace_back(expression);
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetLoweredName(nvrtcProgram program, const char* expression, const char** name)
{
    if (!program->was_compiled) {
        return NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION;
    }
    auto found = program->compiled.lowered_names.find(expression);
    if (found == program->compiled.lowered_names.end()) {
        return NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID;
    }
    *name = found->second.c_str();
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int option_count, const char* const* options)
{
    mamba_host::Options read;
    std::string problem = mamba_host::read_options(option_count, options, read);
    if (!problem.empty()) {
        program->compiled = {};
        program->compiled.log = problem + "\n";
        return NVRTC_ERROR_INVALID_OPTION;
    }
    program->compiled = mamba_host::compile(program->source, read);
    program->was_compiled = true;
    return program->compiled.is_right ? NVRTC_SUCCESS : NVRTC_ERROR_COMPILATION;
}

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, std::size_t* size)
{
    *size = program->compiled.log.size() + 1;
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char* log)
{
    std::memcpy(log, program->compiled.log.c_str(), program->compiled.log.size() + 1);
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, std::size_t* size)
{
    *size = program->compiled.image.size();
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* cubin) { return copy_out(program->compiled.image, cubin); }

nvrtcResult nvrtcGetPTXSize(nvrtcProgram program, std::size_t* size) { return nvrtcGetCUBINSize(program, size); }

nvrtcResult nvrtcGetPTX(nvrtcProgram program, char* ptx) { return copy_out(program->compiled.image, ptx); }

}  // extern "C"
