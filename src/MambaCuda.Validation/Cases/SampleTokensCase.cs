using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of sampling: a vocabulary, from which rows with all pairs of options choose.</summary>
/// <param name="Vocabulary">The logits of a row.</param>
/// <param name="WithTies">Whether logits are multiples of a half, so that many are equal.</param>
/// <param name="IsFew">Whether there are a few rows alone, of which no counts are kept: a device may give more of itself to each.</param>
public sealed record SampleTokensCase(int Vocabulary, bool WithTies, bool IsFew = false)
{
    private static readonly float[] Temperatures = [1, 0, 0.3f, 1.7f];
    private static readonly int[] TopKs = [0, 1, 5, 40, 100_000];
    private static readonly float[] TopPs = [1, 0.9f, 0.4f, 1e-6f];
    private static readonly float[] MinPs = [0, 0.05f, 1];

    private static readonly TokenSampling[] AllOptions =
    [
        .. from row in AllPairs.Rows(Temperatures.Length, TopKs.Length, TopPs.Length, MinPs.Length, 2, 2, 2)
           select new TokenSampling
           {
               Temperature = Temperatures[row[0]],
               TopK = TopKs[row[1]],
               TopP = TopPs[row[2]],
               MinP = MinPs[row[3]],
               RepetitionPenalty = row[4] == 1 ? 1.3f : 1,
               PresencePenalty = row[5] == 1 ? 0.5f : 0,
               FrequencyPenalty = row[6] == 1 ? -0.25f : 0,
           },
    ];

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => $"r{Rows} v{Vocabulary}{(WithTies ? " ties" : "")}";

    /// <summary>From one token, through less and more than a warp and a block, to a real vocabulary.</summary>
    public static IReadOnlyList<SampleTokensCase> All { get; } =
    [
        .. from vocabulary in new[] { 1, 2, 31, 33, 1000, 1025, 50_280 }
           from withTies in new[] { false, true }
           select new SampleTokensCase(vocabulary, withTies),
        .. from withTies in new[] { false, true }
           select new SampleTokensCase(50_280, withTies, IsFew: true),
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The number of rows.</summary>
    public int Rows => Options.Length;

    private TokenSampling[] Options => IsFew ? [.. AllOptions.Where((_, row) => row % 4 == 0)] : AllOptions;

    /// <summary>The case of a name.</summary>
    public static SampleTokensCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run.</summary>
    public SampleTokensInputs Inputs()
    {
        RandomValues random = new($"{Vocabulary} {WithTies}");
        float[] logits = random.Normal(Rows * Vocabulary, 0, 2);
        return new SampleTokensInputs
        {
            Options = Options,
            Logits = WithTies ? [.. logits.Select(value => MathF.Round(2 * value) / 2)] : logits,
            Counts = IsFew ? new int[Rows * Vocabulary] : [.. random.Integers(Rows * Vocabulary, 8).Select(count => Math.Max(0, count - 5))],
            AreCounted = !IsFew,
        };
    }
}
