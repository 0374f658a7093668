#include "compilation.h"

#include "../environment.h"
#include "../language/machine.h"
#include "diagnostics.h"
#include "language_text.h"
#include "process.h"
#include "source_text.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include <dlfcn.h>

namespace mamba_host {
namespace {

namespace fs = std::filesystem;

class TemporaryFolder {
public:
    TemporaryFolder()
    {
        std::string pattern = (fs::temp_directory_path() / "mamba-host-XXXXXX").string();
        if (mkdtemp(pattern.data()) != nullptr) {
            _path = pattern;
        }
    }

    ~TemporaryFolder()
    {
        std::error_code ignored;
        fs::remove_all(_path, ignored);
    }

    const fs::path& path() const { return _path; }

    void write(const fs::path& name, std::string_view text) const
    {
        fs::create_directories((_path / name).parent_path());
        std::ofstream file(_path / name, std::ios::binary);
        file.write(text.data(), static_cast<std::streamsize>(text.size()));
    }

private:
    fs::path _path;
};

std::string quoted(const std::string& text)
{
    std::string result = "\"";
    for (char c : text) {
        result += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
    return result + "\"";
}

std::string numbered(const std::string& name, const std::string& text)
{
    return "#line 1 " + quoted(name) + "\n" + with_launch_bounds_tested(with_dynamic_shared(text));
}

// Plain kernels first, each once; an expression that names one again adds nothing.
std::vector<std::string> entries_of(const Source& source)
{
    std::vector<std::string> entries = plain_kernels(source.text);
    for (const std::string& expression : source.expressions) {
        bool is_known = false;
        for (const std::string& entry : entries) {
            is_known = is_known || entry == expression;
        }
        if (!is_known) {
            entries.push_back(expression);
        }
    }
    return entries;
}

std::string unit_of(const Source& source, const Options& options)
{
    std::string unit = "#include \"cuda_language.h\"\n" + numbered(source.name, source.text) + "\n";
    std::string table;
    std::vector<std::string> entries = entries_of(source);
    for (const std::string& entry : entries) {
        std::string address = entry[0] == '&' ? entry : "&" + entry;
        table += "#line 1 " + quoted("name expression " + entry) + "\n";
        table += "    ::mamba_host::Entry<(" + address + ")>::describe(" + quoted(entry) + "),\n";
    }
    unit += "#line 1 \"entries\"\nstatic const ::mamba_host::Kernel mamba_host_kernels[] = {\n" + table + "    {}};\n";
    unit += "extern \"C\" { extern const ::mamba_host::Module mamba_host_module; const ::mamba_host::Module mamba_host_module = {"
        "::mamba_host::kInterfaceVersion, "
        + std::to_string(options.architecture) + ", " + (options.is_virtual ? "1" : "0") + ", mamba_host_kernels, "
        + std::to_string(entries.size()) + ", &mamba_host_runtime}; }\n";
    return unit;
}

std::vector<std::string> command_for(const TemporaryFolder& folder, const Options& options)
{
    std::vector<std::string> command = {
        // Messages in English, whatever the user's language: they are read by programs too.
        "env", "LC_ALL=C", Environment::get().compiler,
        "-x", "c++", "-std=c++17", "-O1", "-fPIC", "-shared", "-nostartfiles", "-pipe",
        // Templates' static variables would else be shared between modules, and keep them from being unloaded.
        "-fno-gnu-unique", "-Wl,-Bsymbolic", "-Wl,-z,defs", "-Wl,--build-id=none",
        // Large frames touch every page on their way, so that a full stack is met at the inaccessible one below it.
        "-fstack-clash-protection",
        "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-asynchronous-unwind-tables",
        // As nvcc does unless told otherwise; and pointers of different types to the same bytes are what vector loads are.
        "-ffp-contract=fast", "-fno-strict-aliasing", "-fwrapv",
        "-Wall", "-Wno-unknown-pragmas", "-Wno-sign-compare", "-Wno-unused-function", "-Wno-attributes", "-fno-diagnostics-show-option",
        "-DMAMBA_HOST_ARCHITECTURE=" + std::to_string(options.architecture * 10),
    };
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        command.push_back("-march=x86-64-v3");
    }
#endif
#if defined(__SANITIZE_ADDRESS__)
    command.push_back("-fsanitize=address,undefined");
    command.push_back("-fno-omit-frame-pointer");
#else
    command.push_back("-fsanitize=alignment,bounds");
    command.push_back("-fno-sanitize-recover=all");
    command.push_back("-DMAMBA_HOST_REPORTS_UNDEFINED");
#endif
    command.insert(command.end(), options.arguments.begin(), options.arguments.end());
    command.push_back("-I" + folder.path().string());
    command.insert(command.end(), {"-o", (folder.path() / "kernels.so").string(), (folder.path() / "unit.cpp").string(), "-lm"});
    return command;
}

// Names as the linker has them, from the library itself; for what is not visible from outside, what was asked for.
void read_lowered_names(const fs::path& library, Compiled& compiled)
{
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        compiled.is_right = false;
        compiled.log += "nvrtc: error: the compiled kernels cannot be loaded: " + std::string(dlerror()) + "\n";
        return;
    }
    const auto* module = static_cast<const Module*>(dlsym(handle, "mamba_host_module"));
    for (unsigned int i = 0; i < module->kernel_count; ++i) {
        const Kernel& kernel = module->kernels[i];
        Dl_info info{};
        void* address = reinterpret_cast<void*>(kernel.function);
        bool is_visible = dladdr(address, &info) != 0 && info.dli_sname != nullptr && info.dli_saddr == address;
        compiled.lowered_names[kernel.expression] = is_visible ? info.dli_sname : kernel.expression;
    }
    dlclose(handle);
}

}  // namespace

Compiled compile(const Source& source, const Options& options)
{
    TemporaryFolder folder;
    Compiled compiled;
    if (folder.path().empty()) {
        compiled.log = "nvrtc: error: no temporary folder could be made\n";
        return compiled;
    }
    for (const LanguageFile& file : language_files()) {
        folder.write(file.name, file.text);
    }
    for (const auto& [name, text] : source.headers) {
        folder.write(name, numbered(name, text));
    }
    folder.write("unit.cpp", unit_of(source, options));

    Outcome outcome = run_program(command_for(folder, options));
    compiled.log = as_nvrtc_log(outcome.output, folder.path().string());
    std::ifstream library(folder.path() / "kernels.so", std::ios::binary);
    compiled.image.assign(std::istreambuf_iterator<char>(library), {});
    compiled.is_right = outcome.exit_code == 0 && !compiled.image.empty();
    if (outcome.exit_code == 127) {
        compiled.log += "nvrtc: error: the C++ compiler could not be run; set MAMBACUDA_HOST_CXX to one\n";
    }
    if (compiled.is_right) {
        read_lowered_names(folder.path() / "kernels.so", compiled);
    }
    return compiled;
}

}  // namespace mamba_host
