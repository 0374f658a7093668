using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Rows that choose a token, each with options of its own.</summary>
public sealed record SampleTokensInputs
{
    /// <summary>How each row chooses.</summary>
    public required TokenSampling[] Options { get; init; }

    /// <summary>(rows, vocabulary).</summary>
    public required float[] Logits { get; init; }

    /// <summary>How many times each token was seen, (rows, vocabulary).</summary>
    public required int[] Counts { get; init; }

    /// <summary>Whether counts are given and kept.</summary>
    public bool AreCounted { get; init; } = true;

    /// <summary>Where the random numbers stand: each row has the stream of its number.</summary>
    public long[] RandomStates
    {
        get
        {
            long[] states = new long[Rows * RandomStream.StateLength];
            for (int row = 0; row < Rows; row++)
            {
                new RandomStream((ulong)row).CopyStateTo(StateOf(states, row));
            }

            return states;
        }
    }

    /// <summary>The number of rows.</summary>
    public int Rows => Options.Length;

    /// <summary>The logits of a row.</summary>
    public int Vocabulary => Logits.Length / Rows;

    /// <summary>The same row many times, each with random numbers of its own.</summary>
    public static SampleTokensInputs Repeat(int rows, float[] logits, int[] counts, TokenSampling options) => new()
    {
        Options = [.. Enumerable.Repeat(options, rows)],
        Logits = [.. Enumerable.Repeat(logits, rows).SelectMany(row => row)],
        Counts = [.. Enumerable.Repeat(counts, rows).SelectMany(row => row)],
    };

    /// <summary>A row of <see cref="Logits"/>.</summary>
    public ReadOnlySpan<float> LogitsOf(int row) => Logits.AsSpan(row * Vocabulary, Vocabulary);

    /// <summary>A row of <see cref="Counts"/>.</summary>
    public ReadOnlySpan<int> CountsOf(int row) => Counts.AsSpan(row * Vocabulary, Vocabulary);

    /// <summary>The words of a row's stream.</summary>
    public static Span<long> StateOf(long[] states, int row) => states.AsSpan(row * RandomStream.StateLength, RandomStream.StateLength);
}
