#include "diagnostics.h"

#include <cctype>
#include <sstream>

namespace mamba_host {
namespace {

std::size_t end_of_number(const std::string& line, std::size_t from)
{
    while (from < line.size() && std::isdigit(static_cast<unsigned char>(line[from])) != 0) {
        ++from;
    }
    return from;
}

// `file:line:column: rest` as `file(line): rest`; anything else as it is.
std::string translate(const std::string& line)
{
    for (std::size_t colon = line.find(':'); colon != std::string::npos; colon = line.find(':', colon + 1)) {
        std::size_t end = end_of_number(line, colon + 1);
        if (end == colon + 1 || end >= line.size() || line[end] != ':') {
            continue;
        }
        std::size_t column = end_of_number(line, end + 1);
        std::size_t rest = column > end + 1 && column < line.size() && line[column] == ':' ? column : end;
        std::string message = line.substr(rest + 1);
        const std::string fatal = " fatal error:";
        if (message.compare(0, fatal.size(), fatal) == 0) {
            message = " catastrophic error:" + message.substr(fatal.size());
        }
        return line.substr(0, colon) + "(" + line.substr(colon + 1, end - colon - 1) + "):" + message;
    }
    return line;
}

// g++'s opinion of `extern "C" __device__ int x = 1;`, which in CUDA is how a variable gets a plain name. It cannot be switched off.
bool is_about_extern_initializer(const std::string& line) { return line.find("initialized and declared 'extern'") != std::string::npos; }

// The source and the mark under it, which follow a message.
bool is_excerpt(const std::string& line)
{
    std::size_t bar = line.find('|');
    return bar != std::string::npos && line.find_first_not_of(" 0123456789+") == bar;
}

}  // namespace

std::string as_nvrtc_log(const std::string& log, const std::string& folder)
{
    std::string result;
    std::istringstream lines(log);
    bool is_dropping = false;
    for (std::string line; std::getline(lines, line);) {
        is_dropping = is_about_extern_initializer(line) || (is_dropping && is_excerpt(line));
        if (is_dropping) {
            continue;
        }
        for (std::size_t at; (at = line.find(folder + "/")) != std::string::npos;) {
            line.erase(at, folder.size() + 1);
        }
        // The linker's: a function that is declared and nowhere defined.
        std::size_t undefined = line.find("undefined reference to ");
        result += undefined != std::string::npos ? "At end of source: error: " + line.substr(undefined) : translate(line);
        result += '\n';
    }
    return result;
}

}  // namespace mamba_host
