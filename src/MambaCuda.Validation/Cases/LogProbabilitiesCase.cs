namespace MambaCuda.Validation;

/// <summary>One row of the table of log-probabilities, for every backend.</summary>
/// <param name="Rows">The number of rows.</param>
/// <param name="Vocabulary">The logits of a row.</param>
/// <param name="Scale">How large logits are.</param>
public sealed record LogProbabilitiesCase(int Rows, int Vocabulary, float Scale)
{
    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"r{Rows} v{Vocabulary} times {Scale}");

    /// <summary>From one logit to a real vocabulary, and logits that only a subtracted largest one keeps from overflow.</summary>
    public static IReadOnlyList<LogProbabilitiesCase> All { get; } =
    [
        new(1, 1, 1),
        new(3, 7, 1),
        new(5, 8, 10),
        new(40, 33, 50),
        new(2, 50280, 5),
        new(4, 257, 1e4f),
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static LogProbabilitiesCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run: logits, (rows, vocabulary), and a token of each row.</summary>
    public (float[] Logits, int[] Tokens) Inputs()
    {
        RandomValues random = new($"{Rows} {Vocabulary}");
        return (random.Normal(Rows * Vocabulary, 0, Scale), random.Integers(Rows, Vocabulary));
    }
}
