#include "options.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace mamba_host {
namespace {

struct Known {
    const char* name;
    enum { flag, valued } form;
};

constexpr Known kWithoutEffect[] = {
    {"--use_fast_math", Known::flag},   {"-use_fast_math", Known::flag},
    {"--generate-line-info", Known::flag}, {"-lineinfo", Known::flag},
    {"--device-debug", Known::flag},    {"-G", Known::flag},
    {"--no-source-include", Known::flag}, {"-no-source-include", Known::flag},
    {"--extra-device-vectorization", Known::flag}, {"-extra-device-vectorization", Known::flag},
    {"--device-as-default-execution-space", Known::flag}, {"-default-device", Known::flag},
    {"--restrict", Known::flag},        {"-restrict", Known::flag},
    {"--display-error-number", Known::flag}, {"-err-no", Known::flag},
    {"--ftz", Known::valued},           {"-ftz", Known::valued},
    {"--prec-sqrt", Known::valued},     {"-prec-sqrt", Known::valued},
    {"--prec-div", Known::valued},      {"-prec-div", Known::valued},
    {"--maxrregcount", Known::valued},  {"-maxrregcount", Known::valued},
    {"--relocatable-device-code", Known::valued}, {"-rdc", Known::valued},
    {"--ptxas-options", Known::valued}, {"-Xptxas", Known::valued},
    {"--diag-suppress", Known::valued}, {"-diag-suppress", Known::valued},
    {"--builtin-initializer-list", Known::valued}, {"--builtin-move-forward", Known::valued},
    {"--dopt", Known::valued},          {"-dopt", Known::valued},
};

class Reader {
public:
    Reader(int count, const char* const* texts, Options& options) : _texts(texts, texts + count), _options(options) {}

    std::string read()
    {
        for (_at = 0; _at < _texts.size(); ++_at) {
            std::string problem = read_one();
            if (!problem.empty()) {
                return problem;
            }
        }
        return {};
    }

private:
    // The value of `name=value` or of `name value`; also of `namevalue` for the options of one letter.
    bool take(const char* name, std::string& value)
    {
        const std::string& text = _texts[_at];
        std::size_t length = std::strlen(name);
        if (text == name && _at + 1 < _texts.size()) {
            value = _texts[++_at];
            return true;
        }
        if (text.compare(0, length, name) == 0 && text.size() > length) {
            bool is_joined = length == 2 && name[0] == '-';
            if (text[length] == '=' || is_joined) {
                value = text.substr(length + (text[length] == '=' ? 1 : 0));
                return true;
            }
        }
        return false;
    }

    std::string read_one()
    {
        std::string value;
        if (take("--gpu-architecture", value) || take("-arch", value)) {
            return read_architecture(value);
        }
        if (take("-D", value) || take("--define-macro", value)) {
            _options.arguments.push_back("-D" + value);
            return {};
        }
        if (take("-U", value) || take("--undefine-macro", value)) {
            _options.arguments.push_back("-U" + value);
            return {};
        }
        if (take("-I", value) || take("--include-path", value)) {
            _options.arguments.push_back("-I" + value);
            return {};
        }
        if (take("--std", value) || take("-std", value)) {
            // The shim's own headers need 17.
            _options.arguments.push_back(value == "c++20" ? "-std=c++20" : "-std=c++17");
            return {};
        }
        if (take("--fmad", value) || take("-fmad", value)) {
            _options.arguments.push_back(value == "false" ? "-ffp-contract=off" : "-ffp-contract=fast");
            return {};
        }
        if (_texts[_at] == "-w" || _texts[_at] == "--disable-warnings") {
            _options.arguments.push_back("-w");
            return {};
        }
        for (const Known& known : kWithoutEffect) {
            if (known.form == Known::flag ? _texts[_at] == known.name : take(known.name, value)) {
                return {};
            }
        }
        return "nvrtc: error: unrecognized option " + _texts[_at] + " found";
    }

    std::string read_architecture(const std::string& value)
    {
        std::size_t digits = value.find('_');
        std::string kind = value.substr(0, digits);
        int number = digits == std::string::npos ? 0 : std::atoi(value.c_str() + digits + 1);
        const auto& known = supported_architectures();
        if ((kind != "sm" && kind != "compute") || std::find(known.begin(), known.end(), number) == known.end()) {
            return "nvrtc: error: invalid value for --gpu-architecture (-arch): " + value;
        }
        _options.architecture = static_cast<unsigned int>(number);
        _options.is_virtual = kind == "compute";
        return {};
    }

    std::vector<std::string> _texts;
    Options& _options;
    std::size_t _at = 0;
};

}  // namespace

std::string read_options(int count, const char* const* texts, Options& options) { return Reader(count, texts, options).read(); }

const std::vector<int>& supported_architectures()
{
    static const std::vector<int> numbers = {75, 80, 86, 89, 90};
    return numbers;
}

}  // namespace mamba_host
