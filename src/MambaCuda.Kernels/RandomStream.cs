using System.Numerics;

namespace MambaCuda.Kernels;

/// <summary>
/// xoshiro256** of Blackman and Vigna (2018), seeded by splitmix64: the same numbers on every platform, on the GPU and in every version of
/// .NET.
/// </summary>
public struct RandomStream
{
    /// <summary>The number of 64-bit words that say where a stream stands.</summary>
    public const int StateLength = 4;

    private ulong _s0;
    private ulong _s1;
    private ulong _s2;
    private ulong _s3;

    /// <summary>Starts the stream of a seed.</summary>
    public RandomStream(ulong seed)
    {
        _s0 = SplitMix64.Next(ref seed);
        _s1 = SplitMix64.Next(ref seed);
        _s2 = SplitMix64.Next(ref seed);
        _s3 = SplitMix64.Next(ref seed);
    }

    /// <summary>Goes on with a stream from where it stood; see <see cref="CopyStateTo"/>.</summary>
    /// <exception cref="ArgumentException">That are not <see cref="StateLength"/> words.</exception>
    public RandomStream(ReadOnlySpan<long> state)
    {
        CheckLength(state.Length, nameof(state));
        (_s0, _s1, _s2, _s3) = ((ulong)state[0], (ulong)state[1], (ulong)state[2], (ulong)state[3]);
    }

    /// <summary>Writes where the stream stands: a row of <see cref="SampleTokensArgs.RandomStates"/>.</summary>
    /// <exception cref="ArgumentException">There is not room for just <see cref="StateLength"/> words.</exception>
    public readonly void CopyStateTo(Span<long> state)
    {
        CheckLength(state.Length, nameof(state));
        (state[0], state[1], state[2], state[3]) = ((long)_s0, (long)_s1, (long)_s2, (long)_s3);
    }

    /// <summary>A number in [0, 1) with 53 random bits.</summary>
    public double NextDouble()
    {
        ulong result = BitOperations.RotateLeft(_s1 * 5, 7) * 9;
        ulong shifted = _s1 << 17;
        _s2 ^= _s0;
        _s3 ^= _s1;
        _s1 ^= _s2;
        _s0 ^= _s3;
        _s2 ^= shifted;
        _s3 = BitOperations.RotateLeft(_s3, 45);
        return (result >> 11) * (1.0 / (1UL << 53));
    }

    private static void CheckLength(int length, string name)
    {
        if (length != StateLength)
        {
            throw new ArgumentException($"The state of a stream is {StateLength} words, not {length}.", name);
        }
    }
}
