#include "source_text.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace mamba_host {
namespace {

// The text with comments and the insides of literals blank, so that what is found in it is code. Places stay the same.
std::string code_of(const std::string& source)
{
    std::string code = source;
    auto blank = [&code](std::size_t from, std::size_t to) {
        for (std::size_t i = from; i < std::min(to, code.size()); ++i) {
            code[i] = code[i] == '\n' ? '\n' : ' ';
        }
    };
    for (std::size_t i = 0; i < code.size();) {
        if (source.compare(i, 2, "//") == 0) {
            std::size_t end = std::min(source.find('\n', i), source.size());
            blank(i, end);
            i = end;
        } else if (source.compare(i, 2, "/*") == 0) {
            std::size_t end = source.find("*/", i + 2);
            end = end == std::string::npos ? source.size() : end + 2;
            blank(i, end);
            i = end;
        } else if (source[i] == '"' || (source[i] == '\'' && (i == 0 || !std::isalnum(static_cast<unsigned char>(source[i - 1]))))) {
            std::size_t end = i + 1;
            while (end < source.size() && source[end] != source[i] && source[end] != '\n') {
                end += source[end] == '\\' ? 2 : 1;
            }
            // extern "C" is told by its literal.
            if (source.compare(i, 3, "\"C\"") != 0) {
                blank(i + 1, end);
            }
            i = end + 1;
        } else {
            ++i;
        }
    }
    return code;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::size_t skip_space(const std::string& code, std::size_t at)
{
    while (at < code.size() && is_space(code[at])) {
        ++at;
    }
    return at;
}

std::size_t end_of_word(const std::string& code, std::size_t at)
{
    while (at < code.size() && is_word(code[at])) {
        ++at;
    }
    return at;
}

// Behind the parenthesis that closes the one here.
std::size_t skip_parentheses(const std::string& code, std::size_t at)
{
    int depth = 0;
    do {
        depth += code[at] == '(' ? 1 : code[at] == ')' ? -1 : 0;
        ++at;
    } while (at < code.size() && depth > 0);
    return at;
}

std::size_t find_word(const std::string& code, const char* word, std::size_t from)
{
    std::size_t length = std::strlen(word);
    for (std::size_t at = code.find(word, from); at != std::string::npos; at = code.find(word, at + 1)) {
        bool starts = at == 0 || !is_word(code[at - 1]);
        bool ends = at + length == code.size() || !is_word(code[at + length]);
        if (starts && ends) {
            return at;
        }
    }
    return std::string::npos;
}

// Takes `word(...)` out of a declaration.
void remove_attribute(std::string& declaration, const char* word)
{
    for (std::size_t at; (at = find_word(declaration, word, 0)) != std::string::npos;) {
        std::size_t open = skip_space(declaration, at + std::strlen(word));
        std::size_t end = open < declaration.size() && declaration[open] == '(' ? skip_parentheses(declaration, open) : open;
        std::replace_if(declaration.begin() + static_cast<std::ptrdiff_t>(at), declaration.begin() + static_cast<std::ptrdiff_t>(end),
                        [](char c) { return c != '\n'; }, ' ');
    }
}

std::string trimmed(const std::string& text)
{
    std::size_t from = skip_space(text, 0);
    std::size_t to = text.size();
    while (to > from && is_space(text[to - 1])) {
        --to;
    }
    return text.substr(from, to - from);
}

// For the words between `extern __shared__` and `;`; empty where they are not `T name[]`.
std::string as_pointer(std::string declaration)
{
    for (const char* attribute : {"__align__", "alignas", "__attribute__"}) {
        remove_attribute(declaration, attribute);
    }
    std::string compact = trimmed(declaration);
    std::size_t bracket = compact.rfind('[');
    if (bracket == std::string::npos || skip_space(compact, bracket + 1) != compact.size() - 1 || compact.back() != ']') {
        return {};
    }
    std::string front = trimmed(compact.substr(0, bracket));
    std::size_t name = front.size();
    while (name > 0 && is_word(front[name - 1])) {
        --name;
    }
    std::string type = trimmed(front.substr(0, name));
    std::string result = "[[maybe_unused]] " + type + "* const " + front.substr(name) + " = ::mamba_host::dynamic_shared<" + type + ">()";
    std::replace(result.begin(), result.end(), '\n', ' ');
    return result + std::string(static_cast<std::size_t>(std::count(declaration.begin(), declaration.end(), '\n')), '\n');
}

bool is_extern_c(const std::string& code, std::size_t at)
{
    // Back to where the declaration starts.
    std::size_t start = code.find_last_of(";{}", at);
    std::string before = code.substr(start == std::string::npos ? 0 : start + 1, at - (start == std::string::npos ? 0 : start + 1));
    if (find_word(before, "extern", 0) != std::string::npos && before.find("\"C\"") != std::string::npos) {
        return true;
    }
    // Or in a block of them: the innermost brace that is open here belongs to one.
    int depth = 0;
    for (std::size_t i = at; i-- > 0;) {
        depth += code[i] == '}' ? 1 : code[i] == '{' ? -1 : 0;
        if (depth < 0) {
            std::string front = trimmed(code.substr(0, i));
            return front.size() >= 3 && front.compare(front.size() - 3, 3, "\"C\"") == 0;
        }
    }
    return false;
}

}  // namespace

std::string with_dynamic_shared(const std::string& source)
{
    std::string code = code_of(source);
    std::string result;
    std::size_t copied = 0;
    for (std::size_t at = 0; (at = find_word(code, "extern", at)) != std::string::npos;) {
        std::size_t shared = skip_space(code, at + 6);
        std::size_t end = code.find(';', shared);
        if (code.compare(shared, 10, "__shared__") != 0 || end == std::string::npos) {
            at += 6;
            continue;
        }
        std::string pointer = as_pointer(code.substr(shared + 10, end - shared - 10));
        if (!pointer.empty()) {
            result += source.substr(copied, at - copied) + pointer;
            copied = end;
        }
        at = end;
    }
    return result + source.substr(copied);
}

std::string with_launch_bounds_tested(const std::string& source)
{
    std::string code = code_of(source);
    std::string result;
    std::size_t copied = 0;
    for (std::size_t at = 0; (at = find_word(code, "__launch_bounds__", at)) != std::string::npos; ++at) {
        std::size_t open = skip_space(code, at + std::strlen("__launch_bounds__"));
        if (open >= code.size() || code[open] != '(') {
            continue;
        }
        std::size_t behind = skip_parentheses(code, open);
        std::size_t body = code.find_first_of("{;", behind);
        if (body != std::string::npos && code[body] == '{') {
            std::string arguments = trimmed(source.substr(open, behind - open));
            std::replace(arguments.begin(), arguments.end(), '\n', ' ');
            result += source.substr(copied, body + 1 - copied) + " ::mamba_host::test_launch_bounds" + arguments + ";";
            copied = body + 1;
        }
        at = behind;
    }
    return result + source.substr(copied);
}

std::vector<std::string> plain_kernels(const std::string& source)
{
    std::string code = code_of(source);
    std::vector<std::string> names;
    for (std::size_t at = 0; (at = find_word(code, "__global__", at)) != std::string::npos; at += 10) {
        if (!is_extern_c(code, at)) {
            continue;
        }
        // The name is the first word before a parenthesis that is no attribute.
        for (std::size_t word = skip_space(code, at + 10); word < code.size() && is_word(code[word]);) {
            std::size_t end = end_of_word(code, word);
            std::size_t behind = skip_space(code, end);
            std::string text = code.substr(word, end - word);
            if (behind >= code.size() || code[behind] != '(') {
                word = behind;
            } else if (text.compare(0, 2, "__") == 0) {
                word = skip_space(code, skip_parentheses(code, behind));
            } else {
                if (std::find(names.begin(), names.end(), text) == names.end()) {
                    names.push_back(text);
                }
                break;
            }
        }
    }
    return names;
}

}  // namespace mamba_host
