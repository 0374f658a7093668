// kernels_compile.cpp: compiles device sources with the shim's NVRTC, which must have nothing to say about them.
//
//   kernels_compile <native> <file.cu>...      every header under <native>/include is offered, and compiled by itself as well
#include "cuda_api.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

std::string text_of(const fs::path& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

struct Headers {
    std::vector<std::string> names;
    std::vector<std::string> texts;
};

Headers headers_under(const fs::path& root)
{
    Headers headers;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
        if (entry.path().extension() == ".cuh") {
            headers.names.push_back(fs::relative(entry.path(), root).generic_string());
            headers.texts.push_back(text_of(entry.path()));
        }
    }
    return headers;
}

std::vector<const char*> pointers(const std::vector<std::string>& texts)
{
    std::vector<const char*> result;
    for (const std::string& text : texts) {
        result.push_back(text.c_str());
    }
    return result;
}

bool compiles(const std::string& name, const std::string& source, const Headers& headers)
{
    auto names = pointers(headers.names);
    auto texts = pointers(headers.texts);
    bool is_right = true;
    for (const char* architecture : {"--gpu-architecture=sm_75", "--gpu-architecture=sm_90"}) {
        nvrtcProgram program;
        nvrtcCreateProgram(&program, source.c_str(), name.c_str(), static_cast<int>(names.size()), texts.data(), names.data());
        const char* options[] = {architecture, "--std=c++17"};
        int result = nvrtcCompileProgram(program, 2, options);
        std::size_t size;
        nvrtcGetProgramLogSize(program, &size);
        std::string log(size, '\0');
        nvrtcGetProgramLog(program, log.data());
        nvrtcDestroyProgram(&program);
        std::printf("%s %s: %s\n%s", name.c_str(), architecture, result == 0 ? "compiles" : "does not compile", log.c_str());
        is_right = is_right && result == 0 && size == 1;
    }
    return is_right;
}

}  // namespace

int main(int count, char** arguments)
{
    fs::path native = arguments[1];
    Headers headers = headers_under(native / "include");
    bool all = !headers.names.empty();
    for (const std::string& header : headers.names) {
        all = compiles(header + ".cu", "#include \"" + header + "\"\n", headers) && all;
    }
    for (int i = 2; i < count; ++i) {
        all = compiles(fs::path(arguments[i]).filename().string(), text_of(arguments[i]), headers) && all;
    }
    return all ? 0 : 1;
}
