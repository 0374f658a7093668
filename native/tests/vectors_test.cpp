// vectors_test.cpp: elements through vectors and one by one, for every type and length: the same values, and nothing touched beside them.
#include "cuda_language.h"

#include "mamba/vectors.cuh"

#include <cstdio>
#include <cstring>
#include <random>

namespace {

constexpr int kGuarded = 24;
bool all_passed = true;

void expect(bool holds, const char* what, int elements, int element_bytes)
{
    if (!holds) {
        std::printf("%s, %d elements of %d bytes\n", what, elements, element_bytes);
        all_passed = false;
    }
}

template <typename T, int N>
void check()
{
    const int bytes = static_cast<int>(sizeof(T));
    std::mt19937 random(N * bytes);
    std::normal_distribution<float> normal;
    alignas(16) T source[N + 2 * kGuarded];
    for (T& element : source) {
        element = mamba::from_float<T>(normal(random));
    }
    for (int offset : {8, 9}) {
        bool aligned = offset == 8;
        for (int count = aligned ? N : 0; count <= N; ++count) {
            alignas(16) T written[N + 2 * kGuarded];
            std::memcpy(written, source, sizeof source);
            float values[N];
            if (aligned) {
                mamba::load_row<true, mamba::Access::read_once>(source + offset, N, values);
            } else {
                mamba::load_row<false>(source + offset, count, values);
            }
            for (int i = 0; i < N; ++i) {
                float wanted = i < count ? mamba::to_float(source[offset + i]) : 0.0f;
                expect(values[i] == wanted, aligned ? "load" : "load_elements", N, bytes);
                values[i] = wanted * 1.37f + 0.01f;
            }
            if (aligned) {
                mamba::store_row<true>(written + offset, N, values);
            } else {
                mamba::store_row<false>(written + offset, count, values);
            }
            for (int i = 0; i < N + 2 * kGuarded; ++i) {
                bool inside = i >= offset && i < offset + count;
                T wanted = inside ? mamba::from_float<T>(values[i - offset]) : source[i];
                expect(std::memcmp(&written[i], &wanted, sizeof(T)) == 0, aligned ? "store" : "store_elements", N, bytes);
            }
        }
    }
}

}  // namespace

int main()
{
    check<float, 1>();
    check<float, 2>();
    check<float, 4>();
    check<float, 8>();
    check<mamba::bf16, 1>();
    check<mamba::bf16, 2>();
    check<mamba::bf16, 4>();
    check<mamba::bf16, 8>();
    check<mamba::bf16, 16>();
    check<mamba::fp16, 1>();
    check<mamba::fp16, 2>();
    check<mamba::fp16, 4>();
    check<mamba::fp16, 8>();
    check<mamba::fp16, 16>();
    std::printf("vectors: %s\n", all_passed ? "passed" : "failed");
    return all_passed ? 0 : 1;
}
