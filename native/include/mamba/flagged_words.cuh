// flagged_words.cuh: how the blocks of one grid hand values to each other without a barrier: every 32 bits travel in one 64-bit word with a
// number that tells for when they are, so whoever reads the word knows whether they have come.
//
// A word is written and read whole, so nothing else orders the two; where a barrier costs an atomic, a flag and then the reading of what it
// guards, this costs one way through the L2. The number must be another each time that a place is used again. What is read only once all of
// it was used may be written over: a reader that gives something on, which the writer of the next value needs, is done by then.
#pragma once

namespace mamba {

using FlaggedWord = unsigned long long;

__device__ __forceinline__ FlaggedWord flagged(unsigned int value, unsigned int number)
{
    return static_cast<FlaggedWord>(number) << 32 | value;
}

__device__ __forceinline__ void store_flagged(FlaggedWord* to, unsigned int value, unsigned int number)
{
#if defined(__CUDA_ARCH__)
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(flagged(value, number)) : "memory");
#else
    __atomic_store_n(to, flagged(value, number), __ATOMIC_RELAXED);
#endif
}

// What lies there now.
__device__ __forceinline__ FlaggedWord load_flagged(const FlaggedWord* from)
{
#if defined(__CUDA_ARCH__)
    FlaggedWord word;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(from) : "memory");
    return word;
#else
    return __atomic_load_n(from, __ATOMIC_RELAXED);
#endif
}

// Two neighbours, from a multiple of 16 bytes: each is whole, though they may be of different times.
__device__ __forceinline__ void load_flagged(const FlaggedWord* from, FlaggedWord& first, FlaggedWord& second)
{
#if defined(__CUDA_ARCH__)
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(first), "=l"(second) : "l"(from) : "memory");
#else
    first = load_flagged(from);
    second = load_flagged(from + 1);
#endif
}

__device__ __forceinline__ bool is_of(FlaggedWord word, unsigned int number) { return static_cast<unsigned int>(word >> 32) == number; }

__device__ __forceinline__ unsigned int value_of(FlaggedWord word) { return static_cast<unsigned int>(word); }

// Between two looks.
__device__ __forceinline__ void look_again_soon()
{
#if !defined(__CUDA_ARCH__)
    __mamba_let_others_run();
#endif
}

// Reads kCount words, those that place_of(i) tells, or zero where it tells none; all are on their way at once.
template <int kCount, typename PlaceOf>
__device__ __forceinline__ void wait_for_words(PlaceOf place_of, unsigned int number, unsigned int (&values)[kCount])
{
    FlaggedWord words[kCount];
    bool all;
    do {
        all = true;
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            const FlaggedWord* place = place_of(i);
            words[i] = place != nullptr ? load_flagged(place) : flagged(0, number);
        }
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            all = all && is_of(words[i], number);
        }
        if (!all) {
            look_again_soon();
        }
    } while (!all);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
        values[i] = value_of(words[i]);
    }
}

}  // namespace mamba
