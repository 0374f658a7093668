using System.Numerics;
using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// The order in which samples are seen: every epoch in a pseudorandom order of its own, computed from the place alone, so that nothing
/// grows with the number of samples and a run goes on from any place at once. The permutation is a Feistel network of eight rounds over the
/// next even number of bits, walked until it falls into the range (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
/// Immutable.
/// </summary>
public sealed class SampleOrder
{
    private const int Rounds = 8;

    // With fewer bits a network reaches too few of all orders.
    private const int FewestHalfBits = 3;

    private readonly ulong? _seed;
    private readonly int _halfBits;

    /// <summary>Creates the order.</summary>
    /// <param name="count">The number of samples, at least 1.</param>
    /// <param name="seed">Decides the order; null leaves the samples as they are, every epoch.</param>
    public SampleOrder(long count, ulong? seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        Count = count;
        _seed = seed;
        int bits = 64 - BitOperations.LeadingZeroCount((ulong)count - 1);
        _halfBits = Math.Max(FewestHalfBits, (bits + 1) / 2);
    }

    /// <summary>The number of samples, and of places in an epoch.</summary>
    public long Count { get; }

    /// <summary>The sample at a place.</summary>
    /// <param name="place">The place, from 0 on: epoch e begins at e * <see cref="Count"/>.</param>
    public long At(long place)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(place);
        (long epoch, long index) = Math.DivRem(place, Count);
        return _seed is { } seed ? At(new SplitMix64(seed, (ulong)epoch).Next(), (ulong)index) : index;
    }

    private long At(ulong key, ulong index)
    {
        ulong mask = (1UL << _halfBits) - 1;
        do
        {
            ulong left = index >> _halfBits, right = index & mask;
            for (uint round = 0; round < Rounds; round++)
            {
                (left, right) = (right, left ^ (SplitMix64.Mix(key + (((ulong)round << 33) | right)) & mask));
            }

            index = (left << _halfBits) | right;
        }
        while (index >= (ulong)Count);

        return (long)index;
    }
}
