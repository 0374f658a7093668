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

// The multiprocessor's clock.
__device__ __forceinline__ unsigned int cycles_now()
{
    unsigned int now = 0;
#if defined(__CUDA_ARCH__)
    asm volatile("mov.u32 %0, %%clock;" : "=r"(now)::"memory");
#endif
    return now;
}

// Until about so many cycles after `since`, which may be still to come, in which others of the multiprocessor work on.
__device__ __forceinline__ void let_cycles_pass([[maybe_unused]] unsigned int since, [[maybe_unused]] int count)
{
#if defined(__CUDA_ARCH__)
    while (static_cast<int>(cycles_now() - since) < count) {
    }
#endif
}

// Waits for kCount times kWide words, 1 or 2 neighbours, from where place_of(i) tells, or zeros where it tells no place; all are on their way
// at once.
template <int kCount, int kWide, typename PlaceOf>
__device__ __forceinline__ void wait_for_words(PlaceOf place_of, unsigned int number, unsigned int (&values)[kCount][kWide])
{
    FlaggedWord words[kCount][kWide];
    bool all;
    do {
        all = true;
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            const FlaggedWord* place = place_of(i);
            if (place == nullptr) {
                words[i][0] = words[i][kWide - 1] = flagged(0, number);
            } else if constexpr (kWide == 2) {
                load_flagged(place, words[i][0], words[i][1]);
            } else {
                words[i][0] = load_flagged(place);
            }
        }
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            all = all && is_of(words[i][0], number) && is_of(words[i][kWide - 1], number);
        }
        if (!all) {
            look_again_soon();
        }
    } while (!all);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
#pragma unroll
        for (int k = 0; k < kWide; ++k) {
            values[i][k] = value_of(words[i][k]);
        }
    }
}

}  // namespace mamba
