// language_text.h: the headers of cuda_language.h as text, so that the library needs no file beside it.
#pragma once

#include <string_view>
#include <vector>

namespace mamba_host {

struct LanguageFile {
    const char* name;  // as in an #include
    std::string_view text;
};

const std::vector<LanguageFile>& language_files();

}  // namespace mamba_host
