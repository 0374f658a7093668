using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of the gradients of residual sums and norms, for every backend.</summary>
public sealed record AddRmsNormBackwardCase(int Rows, int Channels, float Scale = 1)
{
    private static readonly int[] RowCounts = [1, 2, 7, 70, 100];
    private static readonly int[] ChannelCounts = [1, 3, 8, 31, 130, 257, 768];
    private static readonly float[] Scales = [1, 1e-3f, 1e4f];

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name =>
        FormattableString.Invariant($"r{Rows} c{Channels}") + (Scale == 1 ? "" : FormattableString.Invariant($" times {Scale}"));

    /// <summary>
    /// All pairs of sizes; more rows than there are blocks, rows that are aligned where they can be, and longer ones than a block's
    /// registers hold.
    /// </summary>
    public static IReadOnlyList<AddRmsNormBackwardCase> All { get; } =
    [
        .. from row in AllPairs.Rows(RowCounts.Length, ChannelCounts.Length, Scales.Length)
           select new AddRmsNormBackwardCase(RowCounts[row[0]], ChannelCounts[row[1]], Scales[row[2]]),
        new(5003, 5),
        new(4300, 8),
        new(300, 2056),
        new(2, 16391),
        new(141, 8208),
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static AddRmsNormBackwardCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run.</summary>
    /// <param name="activation">The type that the gradient of y is stored in.</param>
    public AddRmsNormBackwardInputs Inputs(DataType activation)
    {
        RandomValues random = new($"norm backward {Name}");
        return new AddRmsNormBackwardInputs
        {
            Residual = random.Normal(Rows * Channels, 0, Scale),
            Weight = random.Normal(Channels, 1, 0.3f),
            GradY = StoredValues.Round(random.Normal(Rows * Channels), activation),
            GradResidual = random.Normal(Rows * Channels),
            GradWeight = random.Normal(Channels),
            Epsilon = 1e-5f,
        };
    }
}

/// <summary>
/// The operands of a norm's backward pass as plain arrays: residual, gradient of y and that of the residual before (rows, channels), weight
/// and its gradient before (channels).
/// </summary>
public sealed record AddRmsNormBackwardInputs
{
    /// <summary>The residual stream, x added.</summary>
    public required float[] Residual { get; init; }

    /// <summary>The norm's weight.</summary>
    public required float[] Weight { get; init; }

    /// <summary>Gradient of y.</summary>
    public required float[] GradY { get; init; }

    /// <summary>Gradient of the residual stream behind the norm.</summary>
    public required float[] GradResidual { get; init; }

    /// <summary>What the gradient of the weight is added to.</summary>
    public required float[] GradWeight { get; init; }

    /// <summary>What is added to the mean square.</summary>
    public required float Epsilon { get; init; }

    /// <summary>The number of channels.</summary>
    public int Channels => Weight.Length;

    /// <summary>The number of rows.</summary>
    public int Rows => Residual.Length / Channels;
}
