#include "language_text.h"

// The assembler finds the files from native/host, which it is given as a folder to look into (-Wa,-I).
#define MAMBA_HOST_EMBED(symbol, path)                                                        \
    asm(".pushsection .rodata\n" #symbol ":\n.incbin \"" path "\"\n" #symbol "_end:\n.popsection"); \
    extern "C" const char symbol[];                                                           \
    extern "C" const char symbol##_end[];

MAMBA_HOST_EMBED(mamba_text_cuda_language, "cuda_language.h")
MAMBA_HOST_EMBED(mamba_text_atomics, "language/atomics.h")
MAMBA_HOST_EMBED(mamba_text_barriers, "language/barriers.h")
MAMBA_HOST_EMBED(mamba_text_bits, "language/bits.h")
MAMBA_HOST_EMBED(mamba_text_entry, "language/entry.h")
MAMBA_HOST_EMBED(mamba_text_keywords, "language/keywords.h")
MAMBA_HOST_EMBED(mamba_text_machine, "language/machine.h")
MAMBA_HOST_EMBED(mamba_text_math, "language/math.h")
MAMBA_HOST_EMBED(mamba_text_memory, "language/memory.h")
MAMBA_HOST_EMBED(mamba_text_threads, "language/threads.h")
MAMBA_HOST_EMBED(mamba_text_undefined, "language/undefined.h")
MAMBA_HOST_EMBED(mamba_text_vector_types, "language/vector_types.h")
MAMBA_HOST_EMBED(mamba_text_warp, "language/warp.h")

#define MAMBA_HOST_FILE(name, symbol) \
    {name, std::string_view(symbol, static_cast<std::size_t>(symbol##_end - symbol))}

namespace mamba_host {

const std::vector<LanguageFile>& language_files()
{
    static const std::vector<LanguageFile> files = {
        MAMBA_HOST_FILE("cuda_language.h", mamba_text_cuda_language),
        MAMBA_HOST_FILE("language/atomics.h", mamba_text_atomics),
        MAMBA_HOST_FILE("language/barriers.h", mamba_text_barriers),
        MAMBA_HOST_FILE("language/bits.h", mamba_text_bits),
        MAMBA_HOST_FILE("language/entry.h", mamba_text_entry),
        MAMBA_HOST_FILE("language/keywords.h", mamba_text_keywords),
        MAMBA_HOST_FILE("language/machine.h", mamba_text_machine),
        MAMBA_HOST_FILE("language/math.h", mamba_text_math),
        MAMBA_HOST_FILE("language/memory.h", mamba_text_memory),
        MAMBA_HOST_FILE("language/threads.h", mamba_text_threads),
        MAMBA_HOST_FILE("language/undefined.h", mamba_text_undefined),
        MAMBA_HOST_FILE("language/vector_types.h", mamba_text_vector_types),
        MAMBA_HOST_FILE("language/warp.h", mamba_text_warp),
    };
    return files;
}

}  // namespace mamba_host
