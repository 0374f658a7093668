// fast_math_test.cpp: the portable forms of the elementary functions against float64, to the errors that the header states.
//
// Every 1009th float (4 million; a prime, so that all low bits occur) and the values between which the functions change their behaviour.
#include "cuda_language.h"

#include "mamba/fast_math.cuh"

#include <cmath>
#include <cstdio>
#include <initializer_list>
#include <limits>

namespace {

constexpr double kUnit = 0x1p-24;
constexpr double kSmallestNormal = 0x1p-126;

bool all_passed = true;

class Check {
public:
    explicit Check(const char* function) : _function(function) {}

    // `bound` is the largest error allowed; NaN must give NaN, which a comparison with it does not let pass.
    void expect(float x, float got, double wanted, double bound)
    {
        bool right = std::isnan(wanted) ? std::isnan(got) : static_cast<double>(got) == wanted || std::fabs(got - wanted) <= bound;
        ++_checks;
        if (!right && ++_failures <= 5) {
            std::printf("%s(%.9g): got %.9g, expected %.17g within %.3g\n", _function, x, got, wanted, bound);
        }
        if (bound > 0 && std::isfinite(wanted)) {
            _worst = std::fmax(_worst, std::fabs(got - wanted) / bound);
        }
    }

    ~Check()
    {
        std::printf("%s: %ld checks, %ld failures, worst %.2f of the bound\n", _function, _checks, _failures, _worst);
        all_passed = all_passed && _failures == 0 && _checks > 0;
    }

private:
    const char* _function;
    long _checks = 0;
    long _failures = 0;
    double _worst = 0;
};

template <typename Body>
void for_floats(Body body)
{
    for (unsigned long long bits = 0; bits <= 0xffffffffull; bits += 1009) {
        body(__uint_as_float(static_cast<unsigned int>(bits)));
    }
    const float edges[] = {0.0f, 20.0f, 87.0f, 88.0f, 89.0f, 126.0f, 126.5f, 127.0f, 127.5f, 128.0f, 149.0f, 150.0f, 1000.0f, 0x1p-126f, 1.0f};
    for (float edge : edges) {
        for (float x : {edge, std::nextafter(edge, 0.0f), std::nextafter(edge, 1e30f)}) {
            body(x);
            body(-x);
        }
    }
    for (float x : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        body(x);
    }
}

}  // namespace

int main()
{
    {
        Check exp2("exp2_approx"), log2("log2_approx"), reciprocal("reciprocal_approx"), tanh("tanh_approx"), polynomial("exp2_polynomial");
        Check precise("exp2_precise"), exp16("exp_16");
        for_floats([&](float x) {
            double wide = std::fabs(x) < kSmallestNormal ? std::copysign(0.0, x) : static_cast<double>(x);
            double power = std::exp2(static_cast<double>(x));
            // What float32 rounds to infinity is as right as the largest number; what is below the normal numbers is 0.
            double largest = std::numeric_limits<float>::max();
            exp2.expect(x, mamba::exp2_approx(x), power > largest ? HUGE_VAL : power, power < kSmallestNormal ? kSmallestNormal : 4 * kUnit * power);
            // Subnormal results are rounded twice.
            precise.expect(x, mamba::exp2_precise(x), power > largest ? HUGE_VAL : power, power < kSmallestNormal ? 0x1p-148 : 2 * kUnit * power);
            double natural = std::exp(static_cast<double>(x));
            double of_exp16 = natural < kSmallestNormal ? 2 * kSmallestNormal : (4 + 2 * std::fabs(static_cast<double>(x))) * kUnit * natural;
            exp16.expect(x, mamba::exp_16(x), natural > largest ? HUGE_VAL : natural, of_exp16);
            double logarithm = std::log2(wide);
            log2.expect(x, mamba::log2_approx(x), logarithm, x >= 0.5f && x <= 2.0f ? 0x1p-21 : 0x1p-21 * std::fabs(logarithm));
            double quotient = 1.0 / wide;
            reciprocal.expect(x, mamba::reciprocal_approx(x), quotient,
                std::fabs(quotient) <= kSmallestNormal ? kSmallestNormal : 2 * kUnit * std::fabs(quotient));
            tanh.expect(x, mamba::tanh_approx(x), std::tanh(static_cast<double>(x)), 0x1p-10 * std::fabs(std::tanh(static_cast<double>(x))));
            double inside = x < -127.0f ? 0.0 : std::exp2(static_cast<double>(x > 127.0f ? 127.0f : x));
            polynomial.expect(x, mamba::exp2_polynomial(x), std::isnan(x) ? std::nan("") : inside,
                inside < kSmallestNormal ? kSmallestNormal : 4 * kUnit * inside);
        });
    }
    {
        Check sigmoid("sigmoid"), silu("silu"), sigmoid16("sigmoid_16"), silu16("silu_16"), sigmoid_fast("sigmoid_fast"), silu_fast("silu_fast");
        Check softplus("softplus"), softplus16("softplus_16"), slope("silu_slope"), slope16("silu_slope_16");
        for_floats([&](float x) {
            double wide = x;
            double s = 1.0 / (1.0 + std::exp(-wide));
            double product = wide * s;
            double size = std::fabs(product);
            // Below -87 the results are under 2e-38 for sigmoid and 2e-36 for silu, and 0 is given.
            double tiny = x < -87.0f ? s + 0x1p-126 : 0.0;
            double tiny_product = x < -87.0f ? size + 0x1p-126 : 0x1p-149;
            double more = 2 + std::fabs(wide);
            sigmoid.expect(x, mamba::sigmoid(x), s, 8 * kUnit * s + tiny);
            sigmoid16.expect(x, mamba::sigmoid_16(x), s, (8 + more) * kUnit * s + tiny);
            sigmoid_fast.expect(x, mamba::sigmoid_fast(x), s, 0x1p-12);
            if (std::isfinite(x) || std::isnan(x)) {
                silu.expect(x, mamba::silu(x), product, 8 * kUnit * size + tiny_product);
                silu16.expect(x, mamba::silu_16(x), product, (8 + more) * kUnit * size + tiny_product);
                silu_fast.expect(x, mamba::silu_fast(x), product, 0x1p-12 * std::fabs(wide) + 0x1p-149);
                double rest = 1.0 / (1.0 + std::exp(wide));
                double terms = s + size * rest;
                slope.expect(x, mamba::silu_slope(x), s + product * rest, 20 * kUnit * terms + tiny_product);
                slope16.expect(x, mamba::silu_slope_16(x), s + product * rest, (x <= 4.0f ? 0x1p-16 : 0x1p-14) * terms + tiny_product);
            }
            double sum = (wide > 0 ? wide : 0) + std::log1p(std::exp(-std::fabs(wide)));
            softplus.expect(x, mamba::softplus(x), sum, 6 * kUnit * sum + 0x1p-149);
            // Below -80 only that the result is as small.
            softplus16.expect(x, mamba::softplus_16(x), sum, x < -80.0f ? sum + 0x1p-126 : 0x1p-16 * sum);
        });
        const float infinity = std::numeric_limits<float>::infinity();
        silu.expect(infinity, mamba::silu(infinity), infinity, 0);
        silu16.expect(infinity, mamba::silu_16(infinity), infinity, 0);
        silu.expect(-infinity, mamba::silu(-infinity), std::nan(""), 0);
        silu16.expect(-infinity, mamba::silu_16(-infinity), std::nan(""), 0);
        slope.expect(infinity, mamba::silu_slope(infinity), std::nan(""), 0);
        slope.expect(-infinity, mamba::silu_slope(-infinity), std::nan(""), 0);
        silu_fast.expect(infinity, mamba::silu_fast(infinity), infinity, 0);
        silu_fast.expect(-infinity, mamba::silu_fast(-infinity), std::nan(""), 0);
    }
    {
        Check largest("largest_or_nan");
        const float some[] = {-2.5f, 0.0f, 3.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
        for (float a : some) {
            for (float b : some) {
                largest.expect(a, mamba::largest_or_nan(a, b), std::isnan(a) || std::isnan(b) ? std::nan("") : std::fmax(a, b), 0);
            }
        }
    }
    return all_passed ? 0 : 1;
}
