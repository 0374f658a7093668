#include "elf_image.h"

#include <cstring>

#include <elf.h>

namespace mamba_host {

std::size_t elf_length(const void* image)
{
    if (std::memcmp(image, ELFMAG, SELFMAG) != 0) {
        return 0;
    }
    const auto* header = static_cast<const Elf64_Ehdr*>(image);
    // The linker writes the table of sections last.
    return header->e_shoff + static_cast<std::size_t>(header->e_shnum) * header->e_shentsize;
}

std::vector<SharedVariable> shared_variables(const void* image)
{
    const auto* bytes = static_cast<const char*>(image);
    const auto* header = static_cast<const Elf64_Ehdr*>(image);
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(bytes + header->e_shoff);
    std::vector<SharedVariable> found;
    for (unsigned int i = 0; i < header->e_shnum; ++i) {
        if (sections[i].sh_type != SHT_SYMTAB) {
            continue;
        }
        const auto* symbols = reinterpret_cast<const Elf64_Sym*>(bytes + sections[i].sh_offset);
        const char* names = bytes + sections[sections[i].sh_link].sh_offset;
        for (std::size_t symbol = 0; symbol < sections[i].sh_size / sizeof(Elf64_Sym); ++symbol) {
            if (ELF64_ST_TYPE(symbols[symbol].st_info) == STT_TLS) {
                found.push_back({names + symbols[symbol].st_name, symbols[symbol].st_size});
            }
        }
    }
    return found;
}

}  // namespace mamba_host
