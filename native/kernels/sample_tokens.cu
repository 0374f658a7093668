// sample_tokens.cu: chooses the next token of each row from its logits. What SampleTokens.cs says, in the same order as on the host.
//
//   logits (rows, vocabulary), fp32   options (rows, 7)   counts (rows, vocabulary) or none   random_states (rows, 4)
//   -> token_ids (rows), log_probabilities (rows); the chosen token's count and the random state move on
//
// One cluster of blocks a row, of which all share the first phase and the first block does the rest. Each warp owns a contiguous part of the
// vocabulary, so that ids are in order from warp to warp and within one.
// Phases: 1. read the logits: penalties, the largest, the logarithm of the sum of exponentials, which tells of bad ones too
// 2. p = e^((v - largest) / temperature)   3. top-k and top-p: a threshold and how many of the tokens that are equal to it stay (the lower
// ids), by radix selection over the bits of p, three passes of 10 bits   4. sum what is kept, draw, and walk the part of the warp in which
// the draw lies.
// Sums of p are of integers, in steps of 2^-40 of the largest p: they do not depend on the order, so that histograms can be made by atomics
// and a draw still repeats bit for bit. What is kept between the phases is `work`, (rows, vocabulary), which the second-level cache holds.
#include "mamba/cluster.cuh"
#include "mamba/exponential_sum.cuh"
#include "mamba/faults.cuh"
#include "mamba/grid_dependency.cuh"
#include "mamba/random_stream.cuh"

namespace mamba {

struct SampleTokensParams {
    const float* logits;
    const float* options;
    int* counts;
    unsigned long long* random_states;
    int* token_ids;
    float* log_probabilities;
    float* work;
    Fault* fault;
    long long logits_stride;
    long long options_stride;
    long long counts_stride;
    long long random_states_stride;
    long long token_ids_stride;
    long long log_probabilities_stride;
    int vocabulary;
    int blocks;  // of a cluster, the same power of two for all rows
};

// The columns of `options`, as MambaCuda.Kernels.TokenSampling writes them.
struct TokenSampling {
    float temperature;
    float top_k;
    float top_p;
    float min_p;
    float repetition_penalty;
    float presence_penalty;
    float frequency_penalty;
};

using Mass = unsigned long long;

constexpr int kMostWarps = 32;
constexpr int kMostBlocks = 8;  // of a cluster
constexpr int kDigitBits = 10;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kKeyBits = 30;  // of p in [0, 1], whose bits as an integer are in its own order
constexpr int kBelowAll = -1;

__device__ __forceinline__ Mass mass_of(float p) { return static_cast<Mass>(p * 0x1p40f); }

__device__ __forceinline__ Mass mass_of_key(int key) { return mass_of(__int_as_float(key)); }

__device__ __forceinline__ int key_of(float p) { return __float_as_int(p); }

// Which tokens stay: those above the key, and of those equal to it the first `ties`.
struct Kept {
    int key;
    unsigned int ties;
};

struct SampleScratch {
    Mass histogram[kDigits + kDigits / kWarp];  // a gap after every 32: a lane sums 32 neighbours, and lanes must not share a bank
    Mass masses[kMostWarps];
    unsigned long long largest[kMostWarps];
    ExponentialSum sums[kMostWarps];
    float4 parts[kMostBlocks];  // of a block each: its sum, and the two words of its largest rank
    unsigned int ties[kMostWarps];
    int bad[kMostWarps];
    Mass rest;
    unsigned int ties_left;
    int chosen;

    static __device__ __forceinline__ int place(int digit) { return digit + digit / kWarp; }
};

struct Place {
    int lane;
    int warp;
    int warps;
    int first;  // of the tokens of the warp
    int end;

    __device__ __forceinline__ Place(int vocabulary, int block, int blocks)
        : lane(static_cast<int>(threadIdx.x) % kWarp),
          warp(static_cast<int>(threadIdx.x) / kWarp),
          warps(static_cast<int>(blockDim.x) / kWarp)
    {
        int part = ((vocabulary - 1) / (blocks * warps) / kWarp + 1) * kWarp;
        first = min((block * warps + warp) * part, vocabulary);
        end = min(first + part, vocabulary);
    }
};

// Calls body(id, value) for the values of the warp's tokens, in the lane's order. Several loads are in flight: body may store to the same
// memory, across which the compiler moves no load.
template <typename Body>
__device__ __forceinline__ void for_each_token(const float* from, const Place& place, Body body)
{
    constexpr int kAhead = 8;
    for (int first = place.first + place.lane; first < place.end; first += kAhead * kWarp) {
        float values[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            values[k] = first + k * kWarp < place.end ? from[first + k * kWarp] : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            if (first + k * kWarp < place.end) {
                body(first + k * kWarp, values[k]);
            }
        }
    }
}

__device__ __forceinline__ Mass warp_mass(Mass value)
{
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(kAllLanes, value, distance);
    }
    return value;
}

// The sum over the lanes up to this one.
__device__ __forceinline__ Mass warp_scan(Mass value, int lane)
{
#pragma unroll
    for (int distance = 1; distance < kWarp; distance *= 2) {
        Mass other = __shfl_up_sync(kAllLanes, value, distance);
        value += lane >= distance ? other : 0;
    }
    return value;
}

// All threads get the sum over the block.
__device__ __forceinline__ Mass block_mass(Mass value, SampleScratch& scratch, const Place& place)
{
    value = warp_mass(value);
    __syncthreads();
    if (place.lane == 0) {
        scratch.masses[place.warp] = value;
    }
    __syncthreads();
    Mass result = 0;
    for (int warp = 0; warp < place.warps; ++warp) {
        result += scratch.masses[warp];
    }
    return result;
}

// Weights of a selection: each token one, or its probability.
struct One {
    __device__ __forceinline__ Mass operator()(int) const { return 1; }
};

struct Probability {
    __device__ __forceinline__ Mass operator()(int key) const { return mass_of_key(key); }
};

// Of the tokens with keys above `above`: the largest key such that those with it and those with larger keys weigh at least `wanted`, which
// is at least 1 and at most the weight of all. `wanted` becomes what those with just this key must add to those with larger ones.
template <typename Weight>
__device__ int select(const float* p, const Place& place, int above, Mass& wanted, Weight weight, SampleScratch& scratch)
{
    int prefix = 0;
    for (int shift = kKeyBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < SampleScratch::place(kDigits); i += static_cast<int>(blockDim.x)) {
            scratch.histogram[i] = 0;
        }
        __syncthreads();
        for_each_token(p, place, [&](int, float value) {
            int key = key_of(value);
            Mass mass = weight(key);
            if (key > above && (key >> shift >> kDigitBits) == prefix && mass != 0) {
                atomicAdd(&scratch.histogram[SampleScratch::place((key >> shift) % kDigits)], mass);
            }
        });
        __syncthreads();
        if (place.warp == 0) {
            // Lane 0 has the 32 largest digits, and so on down.
            int largest = kDigits - 1 - place.lane * kWarp;
            Mass sum = 0;
            for (int i = 0; i < kWarp; ++i) {
                sum += scratch.histogram[SampleScratch::place(largest - i)];
            }
            Mass before = warp_scan(sum, place.lane) - sum;
            if (before < wanted && wanted <= before + sum) {
                int digit = largest;
                for (Mass here = scratch.histogram[SampleScratch::place(digit)]; before + here < wanted;) {
                    before += here;
                    here = scratch.histogram[SampleScratch::place(--digit)];
                }
                scratch.chosen = digit;
                scratch.rest = wanted - before;
            }
        }
        __syncthreads();
        prefix = prefix * kDigits + scratch.chosen;
        wanted = scratch.rest;
    }
    return prefix;
}

// A logit in an order of integers, the lower id before the higher of equals, and back. Minus zero counts as zero.
__device__ __forceinline__ unsigned long long rank_of(float value, int id)
{
    unsigned int bits = __float_as_uint(value + 0.0f);
    unsigned int ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return static_cast<unsigned long long>(ordered) << 32 | ~static_cast<unsigned int>(id);
}

__device__ __forceinline__ int id_of_rank(unsigned long long rank) { return static_cast<int>(~static_cast<unsigned int>(rank)); }

__device__ __forceinline__ float value_of_rank(unsigned long long rank)
{
    unsigned int ordered = static_cast<unsigned int>(rank >> 32);
    return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

// The rounded operations keep the compiler from contracting them: the host's result, bit for bit.
__device__ __forceinline__ float penalized(float value, int count, const TokenSampling& options)
{
    if (count == 0) {
        return value;
    }
    value = value > 0.0f ? __fdiv_rn(value, options.repetition_penalty) : __fmul_rn(value, options.repetition_penalty);
    return __fsub_rn(__fsub_rn(value, options.presence_penalty), __fmul_rn(static_cast<float>(count), options.frequency_penalty));
}

__device__ __forceinline__ unsigned long long part_rank(float4 part)
{
    return static_cast<unsigned long long>(__float_as_uint(part.z)) << 32 | __float_as_uint(part.w);
}

// Says which logit is none to choose a token by, the first of them, or that no token may be chosen.
__device__ void report_bad(const float* logits, bool is_none, Fault* fault, long long row, const Place& place, SampleScratch& scratch)
{
    int bad = 0x7fffffff;
    for_each_token(logits, place, [&](int i, float value) {
        // False for NaN too.
        if (!(value < __uint_as_float(0x7f800000u))) {
            bad = min(bad, i);
        }
    });
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        bad = min(bad, __shfl_xor_sync(kAllLanes, bad, distance));
    }
    if (place.lane == 0) {
        scratch.bad[place.warp] = bad;
    }
    __syncthreads();
    for (int warp = 0; warp < place.warps; ++warp) {
        bad = min(bad, scratch.bad[warp]);
    }
    report(fault, is_none ? FaultKind::no_token : FaultKind::logit, row, is_none ? 0 : bad);
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads) sample_tokens(const __grid_constant__ SampleTokensParams p)
{
    __shared__ SampleScratch scratch;
    int block = cluster_block();
    cluster_arrive();
    long long row = static_cast<int>(blockIdx.x) / p.blocks;
    Place part(p.vocabulary, block, p.blocks);
    const float* logits = p.logits + row * p.logits_stride;
    float* work = p.work + row * p.vocabulary;
    int* counts = p.counts != nullptr ? p.counts + row * p.counts_stride : nullptr;
    wait_for_earlier_grids();
    const float* columns = p.options + row * p.options_stride;
    TokenSampling options = {columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6]};

    // 1. Read. Many at a time: few warps read them all, and would wait for every load.
    constexpr int kAhead = 16;
    bool draws = options.temperature != 0.0f;
    ExponentialSum sum = ExponentialSum::of_nothing();
    float best = ExponentialSum::minus_infinity();
    int best_id = part.first + part.lane;
    auto consider = [&](int id, float value) {
        if (value > best) {
            best = value;
            best_id = id;
        }
        if (draws) {
            work[id] = value;
        }
    };
    for (int first = part.first + part.lane; first < part.end; first += kAhead * kWarp) {
        float values[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            values[k] = first + k * kWarp < part.end ? logits[first + k * kWarp] : ExponentialSum::minus_infinity();
        }
        sum.add_terms(values);
        if (counts == nullptr) {
#pragma unroll
            for (int k = 0; k < kAhead; ++k) {
                if (first + k * kWarp < part.end) {
                    consider(first + k * kWarp, values[k]);
                }
            }
        }
    }
    if (counts != nullptr) {
        for_each_token(logits, part, [&](int i, float value) { consider(i, penalized(value, counts[i], options)); });
    }
    sum = block_sum(sum, scratch.sums);
    unsigned long long largest = part.first + part.lane < part.end ? rank_of(best, best_id) : 0;
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        unsigned long long other = __shfl_xor_sync(kAllLanes, largest, distance);
        largest = other > largest ? other : largest;
    }
    if (part.lane == 0) {
        scratch.largest[part.warp] = largest;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 0; warp < part.warps; ++warp) {
            largest = scratch.largest[warp] > largest ? scratch.largest[warp] : largest;
        }
    }
    cluster_wait();
    if (threadIdx.x == 0) {
        store_in_block(scratch.parts + block, 0,
            make_float4(sum.largest, sum.sum, __uint_as_float(static_cast<unsigned int>(largest >> 32)),
                __uint_as_float(static_cast<unsigned int>(largest))));
    }
    let_next_grid_start();
    cluster_arrive();
    cluster_wait();
    if (block != 0) {
        return;
    }
    sum = {scratch.parts[0].x, scratch.parts[0].y};
    largest = part_rank(scratch.parts[0]);
    for (int i = 1; i < p.blocks; ++i) {
        sum.add({scratch.parts[i].x, scratch.parts[i].y});
        largest = max(largest, part_rank(scratch.parts[i]));
    }
    Place place(p.vocabulary, 0, 1);
    // The sum is NaN where a logit is that or plus infinity, and 0 where all are minus infinity.
    if (!(sum.sum > 0.0f)) {
        report_bad(logits, sum.sum == 0.0f, p.fault, row, place, scratch);
        return;
    }
    int chosen = id_of_rank(largest);
    if (draws) {
        // 2. Probabilities, the largest being 1.
        float top = value_of_rank(largest);
        Mass total = 0;
        for_each_token(work, place, [&](int i, float value) {
            // Of options without meaning, NaN or infinity may come: whatever else they do, they do not keep the walk below from ending.
            float probability = i == chosen ? 1.0f : fminf(expf(__fdiv_rn(value - top, options.temperature)), 1.0f);
            work[i] = probability;
            total += mass_of(probability);
        });
        total = block_mass(total, scratch, place);

        // 3. Filters. `kept` are all at first.
        Kept kept = {kBelowAll, 0};
        if (options.top_k > 0.0f && options.top_k < static_cast<float>(p.vocabulary)) {
            Mass wanted = max(static_cast<Mass>(options.top_k), static_cast<Mass>(1));
            kept.key = select(work, place, kBelowAll, wanted, One(), scratch);
            kept.ties = static_cast<unsigned int>(wanted);
        }
        if (options.top_p < 1.0f) {
            Mass above = total;
            if (kept.key != kBelowAll) {
                above = 0;
                for_each_token(work, place, [&](int, float value) { above += key_of(value) > kept.key ? mass_of(value) : 0; });
                above = block_mass(above, scratch, place);
                total = above + kept.ties * mass_of_key(kept.key);
            }
            double share = static_cast<double>(fmaxf(options.top_p, 0.0f)) * static_cast<double>(total);
            Mass wanted = max(static_cast<Mass>(ceil(share)), static_cast<Mass>(1));
            if (wanted <= above) {
                kept.key = select(work, place, kept.key, wanted, Probability(), scratch);
            } else {
                wanted -= above;
            }
            Mass each = mass_of_key(kept.key);
            kept.ties = each == 0 ? kept.ties : static_cast<unsigned int>((wanted + each - 1) / each);
        }
        float min_p = fminf(options.min_p, 1.0f);
        if (min_p > 0.0f && key_of(min_p) > kept.key) {
            kept = {key_of(min_p), 0xffffffffu};
        }

        // 4. What each warp keeps; ties go to the lower ids, so a warp must know how many lie before it.
        Mass mass = 0;
        unsigned int ties = 0;
        for_each_token(work, place, [&](int, float value) {
            mass += key_of(value) > kept.key ? mass_of(value) : 0;
            ties += key_of(value) == kept.key ? 1u : 0u;
        });
        mass = warp_mass(mass);
        ties = static_cast<unsigned int>(warp_mass(ties));
        __syncthreads();
        if (place.lane == 0) {
            scratch.masses[place.warp] = mass;
            scratch.ties[place.warp] = ties;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            Mass each = kept.key == kBelowAll ? 0 : mass_of_key(kept.key);
            unsigned int left = kept.ties;
            total = 0;
            for (int warp = 0; warp < place.warps; ++warp) {
                unsigned int here = min(left, scratch.ties[warp]);
                left -= here;
                scratch.masses[warp] += here * each;
                scratch.ties[warp] = here;
                total += scratch.masses[warp];
            }
            unsigned long long* state = p.random_states + row * p.random_states_stride;
            RandomStream random = {{state[0], state[1], state[2], state[3]}};
            // floor(u * total) with u in [0, 1) of 53 bits.
            Mass rest = __umul64hi(random.next() << 11, total);
            for (int i = 0; i < 4; ++i) {
                state[i] = random.state[i];
            }
            int warp = 0;
            while (rest >= scratch.masses[warp]) {
                rest -= scratch.masses[warp++];
            }
            scratch.chosen = warp;
            scratch.rest = rest;
            scratch.ties_left = scratch.ties[warp];
        }
        __syncthreads();
        if (place.warp != scratch.chosen) {
            return;
        }
        Mass rest = scratch.rest;
        unsigned int ties_left = scratch.ties_left;
        for (int i = place.first + place.lane;; i += kWarp) {
            int key = i < place.end ? key_of(work[i]) : kBelowAll;
            bool is_tie = i < place.end && key == kept.key;
            unsigned int all_ties = __ballot_sync(kAllLanes, is_tie);
            unsigned int ties_before = static_cast<unsigned int>(__popc(all_ties & ((1u << place.lane) - 1u)));
            bool stays = (i < place.end && key > kept.key) || (is_tie && ties_before < ties_left);
            Mass up_to = warp_scan(stays ? mass_of_key(key) : 0, place.lane);
            unsigned int reached = __ballot_sync(kAllLanes, up_to > rest);
            if (reached != 0) {
                chosen = __shfl_sync(kAllLanes, i, __ffs(static_cast<int>(reached)) - 1);
                break;
            }
            rest -= __shfl_sync(kAllLanes, up_to, kWarp - 1);
            ties_left -= min(ties_left, static_cast<unsigned int>(__popc(all_ties)));
        }
    } else if (place.warp != 0) {
        return;
    }

    if (place.lane == 0) {
        p.token_ids[row * p.token_ids_stride] = chosen;
        p.log_probabilities[row * p.log_probabilities_stride] = (logits[chosen] - sum.largest) - logf(sum.sum);
        if (counts != nullptr) {
            counts[chosen] += 1;
        }
    }
}

}  // namespace mamba
