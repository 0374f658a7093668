// types_test.cpp: bf16 and fp16 against a reference that shares nothing with them.
//
// The reference knows the formats only as "fraction times a power of two" in double arithmetic; it rounds by looking up the two nearest
// values in the table of all. All 65,536 patterns of each type are decoded and encoded; from float, every midpoint between neighbours with
// the floats beside it, and random bit patterns of float.
#include "cuda_language.h"

#include "mamba/types.cuh"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

namespace {

class Format {
public:
    Format(int exponent_bits, int fraction_bits)
        : _fraction_bits(fraction_bits), _bias((1 << (exponent_bits - 1)) - 1), _infinity(((1u << exponent_bits) - 1) << fraction_bits)
    {
        for (unsigned int pattern = 0; pattern < _infinity; ++pattern) {
            _magnitudes.push_back(magnitude(pattern));
        }
        // What the pattern of infinity would stand for if it were a number: rounding to it is how overflow is defined.
        _magnitudes.push_back(magnitude(_infinity));
    }

    unsigned int infinity() const { return _infinity; }

    bool is_nan(unsigned int pattern) const { return (pattern & 0x7fffu) > _infinity; }

    double decode(unsigned int pattern) const
    {
        unsigned int positive = pattern & 0x7fffu;
        double value = positive > _infinity ? std::numeric_limits<double>::quiet_NaN()
            : positive == _infinity         ? std::numeric_limits<double>::infinity()
                                            : _magnitudes[positive];
        return (pattern & 0x8000u) != 0 ? -value : value;
    }

    // The pattern nearest to a number that is not NaN; of two equally near, the even one.
    unsigned int encode(double value) const
    {
        unsigned int sign = std::signbit(value) ? 0x8000u : 0u;
        double wanted = std::fabs(value);
        if (wanted >= _magnitudes.back()) {
            return sign | _infinity;
        }
        auto above = std::upper_bound(_magnitudes.begin(), _magnitudes.end(), wanted);
        unsigned int low = static_cast<unsigned int>(above - _magnitudes.begin()) - 1;
        double down = wanted - _magnitudes[low];
        double up = _magnitudes[low + 1] - wanted;
        bool round_up = up < down || (up == down && low % 2 == 1);
        return sign | (round_up ? low + 1 : low);
    }

private:
    double magnitude(unsigned int pattern) const
    {
        int exponent = static_cast<int>(pattern >> _fraction_bits);
        int fraction = static_cast<int>(pattern & ((1u << _fraction_bits) - 1));
        return exponent == 0 ? std::ldexp(fraction, 1 - _bias - _fraction_bits)
                             : std::ldexp(fraction + (1 << _fraction_bits), exponent - _bias - _fraction_bits);
    }

    int _fraction_bits;
    int _bias;
    unsigned int _infinity;
    std::vector<double> _magnitudes;
};

class Report {
public:
    explicit Report(const char* type) : _type(type) {}

    void expect(bool holds, const char* what, unsigned int input, unsigned int got, unsigned int wanted)
    {
        ++_checks;
        if (!holds && ++_failures <= 10) {
            std::printf("%s %s of 0x%08x: got 0x%08x, expected 0x%08x\n", _type, what, input, got, wanted);
        }
    }

    bool passed() const
    {
        std::printf("%s: %ld checks, %ld failures\n", _type, _checks, _failures);
        return _failures == 0 && _checks > 0;
    }

private:
    const char* _type;
    long _checks = 0;
    long _failures = 0;
};

template <typename T>
void check_decoding(const Format& format, Report& report)
{
    for (unsigned int pattern = 0; pattern <= 0xffffu; ++pattern) {
        float got = mamba::to_float(T{static_cast<unsigned short>(pattern)});
        float wanted = static_cast<float>(format.decode(pattern));
        bool same = format.is_nan(pattern) ? std::isnan(got) && std::signbit(got) == ((pattern & 0x8000u) != 0)
                                           : __float_as_uint(got) == __float_as_uint(wanted);
        report.expect(same, "to float", pattern, __float_as_uint(got), __float_as_uint(wanted));

        unsigned int back = mamba::from_float<T>(got).bits;
        bool returned = format.is_nan(pattern) ? format.is_nan(back) && (back & 0x8000u) == (pattern & 0x8000u) : back == pattern;
        report.expect(returned, "to float and back", pattern, back, pattern);
    }
}

template <typename T>
void check_encoding(const Format& format, Report& report, float value)
{
    unsigned int bits = __float_as_uint(value);
    unsigned int got = mamba::from_float<T>(value).bits;
    if (std::isnan(value)) {
        report.expect(format.is_nan(got) && (got & 0x8000u) == ((bits >> 16) & 0x8000u), "from float (NaN)", bits, got, 0);
    } else {
        unsigned int wanted = format.encode(value);
        report.expect(got == wanted, "from float", bits, got, wanted);
    }
}

template <typename T>
bool check(const char* type, const Format& format)
{
    Report report(type);
    check_decoding<T>(format, report);

    for (unsigned int pattern = 0; pattern < format.infinity(); ++pattern) {
        double next = pattern + 1 < format.infinity() ? format.decode(pattern + 1) : 2 * format.decode(pattern) - format.decode(pattern - 1);
        float midpoint = static_cast<float>((format.decode(pattern) + next) / 2);
        for (float value : {midpoint, std::nextafter(midpoint, 0.0f), std::nextafter(midpoint, std::numeric_limits<float>::infinity())}) {
            check_encoding<T>(format, report, value);
            check_encoding<T>(format, report, -value);
        }
    }

    std::mt19937 random(20240607);
    for (int i = 0; i < 4000000; ++i) {
        check_encoding<T>(format, report, __uint_as_float(static_cast<unsigned int>(random())));
        // Most random patterns of float lie outside fp16's range: 2^-58 to 2^17 covers it and both its ends.
        check_encoding<T>(format, report, std::ldexp(static_cast<float>(random()), static_cast<int>(random() % 44) - 58));
    }
    return report.passed();
}

}  // namespace

int main()
{
    bool bf16 = check<mamba::bf16>("bf16", Format(8, 7));
    bool fp16 = check<mamba::fp16>("fp16", Format(5, 10));
    return bf16 && fp16 ? 0 : 1;
}
