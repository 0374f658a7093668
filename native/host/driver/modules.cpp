#include "modules.h"

#include "../environment.h"
#include "../execution/grid.h"
#include "device_memory.h"
#include "devices.h"
#include "elf_image.h"
#include "errors.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace mamba_host {
namespace {

// A path to an open file that was never used before: dlopen knows libraries by their path, and a number of a file comes again. "/." changes
// nothing but the path; the bits of a counter say where one stands.
std::string new_path_of(int file)
{
    static std::atomic<unsigned int> used{0};
    std::string path = "/proc/self/fd";
    for (unsigned int bits = used++; bits != 0; bits /= 2) {
        path += bits % 2 != 0 ? "/." : "/";
    }
    return path + "/" + std::to_string(file);
}

// Loads from a file that exists in memory alone, so that nothing is left behind whatever happens.
void* load(const void* image, std::size_t bytes)
{
    int file = memfd_create("mamba-kernels", MFD_CLOEXEC);
    if (file < 0) {
        return nullptr;
    }
    void* handle = nullptr;
    if (write(file, image, bytes) == static_cast<ssize_t>(bytes)) {
        handle = dlopen(new_path_of(file).c_str(), RTLD_NOW | RTLD_LOCAL);
    }
    close(file);
    return handle;
}

StaticShared shared_of(void* handle)
{
    StaticShared shared;
    if (dlinfo(handle, RTLD_DI_TLS_MODID, &shared.tls_module) != 0 || shared.tls_module == 0) {
        return {};
    }
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
            auto* wanted = static_cast<StaticShared*>(result);
            if (info->dlpi_tls_modid == wanted->tls_module) {
                for (int i = 0; i < info->dlpi_phnum; ++i) {
                    if (info->dlpi_phdr[i].p_type == PT_TLS) {
                        wanted->bytes = info->dlpi_phdr[i].p_memsz;
                    }
                }
            }
            return 0;
        },
        &shared);
    return shared;
}

// The mangled name where the kernel has one that can be seen from outside, else what was asked for.
std::string name_of(const Kernel& kernel)
{
    Dl_info info{};
    void* address = reinterpret_cast<void*>(kernel.function);
    return dladdr(address, &info) != 0 && info.dli_sname != nullptr && info.dli_saddr == address ? info.dli_sname : kernel.expression;
}

// Local variables of a function are called _ZZ <function> E <variable>; those of functions that it calls are not counted.
unsigned int static_bytes_of(const std::string& kernel, const std::vector<SharedVariable>& variables)
{
    std::string prefix = kernel.rfind("_Z", 0) == 0 ? "_ZZ" + kernel.substr(2) + "E"
                                                    : "_ZZ" + std::to_string(kernel.size()) + kernel + "E";
    std::size_t bytes = 0;
    for (const SharedVariable& variable : variables) {
        bytes += variable.name.rfind(prefix, 0) == 0 ? variable.bytes : 0;
    }
    return static_cast<unsigned int>(bytes);
}

std::unique_ptr<Function> function_of(const LoadedModule& module, const Kernel& kernel, const std::vector<SharedVariable>& variables)
{
    std::string name = name_of(kernel);
    unsigned int static_bytes = static_bytes_of(name, variables);
    unsigned int dynamic_bytes = kSharedBytesPerBlock - std::min(kSharedBytesPerBlock, static_bytes);
    return std::make_unique<Function>(Function{&module, &kernel, name, kernel.expression, static_bytes, dynamic_bytes});
}

bool runs_here(const Module& module)
{
    auto device = static_cast<unsigned int>(Environment::get().architecture);
    return module.is_virtual != 0 ? module.architecture <= device
                                  : module.architecture / 10 == device / 10 && module.architecture <= device;
}

constexpr int kErrorLogBuffer = 5;
constexpr int kErrorLogBufferBytes = 6;

void write_log(unsigned int count, const int* options, void** values, const char* text)
{
    for (unsigned int i = 0; i + 1 < count; ++i) {
        if (options[i] == kErrorLogBuffer && options[i + 1] == kErrorLogBufferBytes) {
            std::snprintf(static_cast<char*>(values[i]), reinterpret_cast<std::size_t>(values[i + 1]), "%s", text);
        }
    }
}

}  // namespace
}  // namespace mamba_host

using namespace mamba_host;

extern "C" {

CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned int option_count, const int* options, void** values)
{
    std::size_t bytes = elf_length(image);
    void* handle = bytes == 0 ? nullptr : load(image, bytes);
    if (handle == nullptr) {
        write_log(option_count, options, values, bytes == 0 ? "The image was not made by the host shim's NVRTC." : dlerror());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    const auto* content = static_cast<const Module*>(dlsym(handle, "mamba_host_module"));
    if (content == nullptr || content->interface_version != kInterfaceVersion) {
        write_log(option_count, options, values, "The image was made by another version of the host shim.");
        dlclose(handle);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    if (!runs_here(*content)) {
        dlclose(handle);
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    *content->runtime = runtime();
    auto* loaded = new LoadedModule{handle, content, shared_of(handle), {}};
    auto variables = shared_variables(image);
    for (unsigned int i = 0; i < content->kernel_count; ++i) {
        loaded->functions.push_back(function_of(*loaded, content->kernels[i], variables));
    }
    *module = loaded;
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module)
{
    dlclose(module->handle);
    delete module;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name)
{
    for (const auto& candidate : module->functions) {
        if (candidate->name == name || candidate->title == name) {
            *function = candidate.get();
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr* address, std::size_t* bytes, CUmodule module, const char* name)
{
    void* variable = dlsym(module->handle, name);
    Dl_info info{};
    const ElfW(Sym)* symbol = nullptr;
    if (variable == nullptr || dladdr1(variable, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&symbol)), RTLD_DL_SYMENT) == 0
        || symbol == nullptr || ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT) {
        return CUDA_ERROR_NOT_FOUND;
    }
    DeviceMemory::get().admit(variable, symbol->st_size);
    *address = reinterpret_cast<CUdeviceptr>(variable);
    *bytes = symbol->st_size;
    return CUDA_SUCCESS;
}

}  // extern "C"
