using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of residual sums and norms, for every backend.</summary>
public sealed record AddRmsNormCase(int Rows, int Channels)
{
    private static readonly int[] RowCounts = [1, 2, 9, 70];
    private static readonly int[] ChannelCounts = [1, 3, 8, 33, 100, 768];
    private static readonly float[] Scales = [1, 1e-3f, 1e4f];

    /// <summary>Whether something is added to the residual stream.</summary>
    public bool WithX { get; init; } = true;

    /// <summary>Whether the sum gets memory of its own.</summary>
    public bool Apart { get; init; }

    /// <summary>How large values are.</summary>
    public float Scale { get; init; } = 1;

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => FormattableString.Invariant($"r{Rows} c{Channels}{(WithX ? " x" : "")}{(Apart ? " apart" : "")}")
        + (Scale == 1 ? "" : FormattableString.Invariant($" times {Scale}"));

    /// <summary>All pairs of sizes and options, and rows longer than a block's registers hold.</summary>
    public static IReadOnlyList<AddRmsNormCase> All { get; } =
    [
        .. from row in AllPairs.Rows(RowCounts.Length, ChannelCounts.Length, 2, Scales.Length, 2)
           select new AddRmsNormCase(RowCounts[row[0]], ChannelCounts[row[1]])
           {
               WithX = row[2] == 1,
               Scale = Scales[row[3]],
               Apart = row[4] == 1,
           },
        new(3, 8200),
        new(3, 8200) { Apart = true },
        new(2, 16391),
        new(2, 16391) { Apart = true },
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static AddRmsNormCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run.</summary>
    /// <param name="activation">The type that x is stored in.</param>
    public AddRmsNormInputs Inputs(DataType activation)
    {
        RandomValues random = new($"{Rows} {Channels}");
        float[]? x = WithX ? StoredValues.Round(random.Normal(Rows * Channels, 0, Scale), activation) : null;
        return new AddRmsNormInputs(x, random.Normal(Rows * Channels, 0, Scale), random.Normal(Channels, 1, 0.3f), Epsilon: 1e-5f);
    }
}

/// <summary>The operands of a residual sum and its norm as plain arrays: x and residual (rows, channels), weight (channels).</summary>
public sealed record AddRmsNormInputs(float[]? X, float[] Residual, float[] Weight, float Epsilon)
{
    /// <summary>The number of channels.</summary>
    public int Channels => Weight.Length;

    /// <summary>The number of rows.</summary>
    public int Rows => Residual.Length / Channels;
}
