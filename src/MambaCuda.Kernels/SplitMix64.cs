namespace MambaCuda.Kernels;

/// <summary>
/// splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a stream of random numbers of its own for
/// every (seed, index), with nothing to carry from one index to the next. The same numbers on every platform.
/// </summary>
public struct SplitMix64
{
    /// <summary>What the state grows by from one number to the next.</summary>
    public const ulong Increment = 0x9E3779B97F4A7C15;

    private ulong _state;

    /// <summary>The stream of an index.</summary>
    public SplitMix64(ulong seed, ulong index) => _state = Mix(Mix(seed + Increment) ^ Mix(index));

    /// <summary>64 random bits.</summary>
    public ulong Next() => Next(ref _state);

    /// <summary>64 random bits of a stream whose state others keep.</summary>
    public static ulong Next(ref ulong state) => Mix(state += Increment);

    /// <summary>A number from 0 to <paramref name="end"/> - 1; one is more likely than another by no more than end / 2^64.</summary>
    public long Below(long end) => (long)Math.BigMul(Next(), (ulong)end, out _);

    /// <summary>Spreads every bit of a number over all bits; a bijection.</summary>
    public static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
