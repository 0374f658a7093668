using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Random numbers that are found by their place (by <see cref="SplitMix64"/>), so that threads draw parts of one sequence without each
/// other.
/// </summary>
internal readonly struct RandomSequence(int seed, long first)
{
    /// <summary>In [0, 1).</summary>
    public double Uniform(long place) => (Bits(2 * (first + place)) >> 11) * (1.0 / (1UL << 53));

    /// <summary>Of mean 0 and deviation 1: Box and Muller's transform of two uniform numbers.</summary>
    public double Normal(long place)
    {
        double other = (Bits((2 * (first + place)) + 1) >> 11) * (1.0 / (1UL << 53));
        return Math.Sqrt(-2 * Math.Log(1 - Uniform(place))) * Math.Cos(2 * Math.PI * other);
    }

    private ulong Bits(long place) =>
        SplitMix64.Mix(((uint)seed * 0xD1B54A32D192ED03) + ((ulong)(place + 1) * SplitMix64.Increment));
}
