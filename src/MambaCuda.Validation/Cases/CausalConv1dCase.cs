namespace MambaCuda.Validation;

/// <summary>One row of the table of causal convolutions, for every backend and the benchmarks.</summary>
public sealed record CausalConv1dCase(int Batch, int Length, int Channels, int Width)
{
    private static readonly int[] Batches = [1, 2, 7];
    private static readonly int[] Lengths = [1, 2, 3, 31, 64, 65, 300];
    private static readonly int[] ChannelCounts = [1, 3, 130, 320, 530];
    private static readonly int[] Widths = [2, 3, 4];

    /// <summary>Whether a bias is added.</summary>
    public bool Bias { get; init; }

    /// <summary>Whether SiLU follows.</summary>
    public bool Silu { get; init; }

    /// <summary>Whether sequences go on from a state.</summary>
    public bool InitialState { get; init; }

    /// <summary>Sequences of different lengths, their states in another order.</summary>
    public bool Packed { get; init; }

    /// <summary>The gradient of y comes in two parts.</summary>
    public bool TwoGradients { get; init; }

    /// <summary>Inputs up to 1e4.</summary>
    public bool Large { get; init; }

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => string.Join(' ', new[]
    {
        $"b{Batch}", $"l{Length}", $"c{Channels}", $"w{Width}", Bias ? "bias" : "", Silu ? "silu" : "", InitialState ? "state" : "",
        Packed ? "packed" : "", TwoGradients ? "two gradients" : "", Large ? "large" : "",
    }.Where(word => word.Length > 0));

    /// <summary>All pairs of sizes and options, what of a kernel's variants they leave out, and large values.</summary>
    public static IReadOnlyList<CausalConv1dCase> All { get; } =
    [
        .. from row in AllPairs.Rows(Lengths.Length, ChannelCounts.Length, Batches.Length, Widths.Length, 2, 2, 2, 2)
           select new CausalConv1dCase(Batches[row[2]], Lengths[row[0]], ChannelCounts[row[1]], Widths[row[3]])
           {
               Bias = row[4] == 1,
               Silu = row[5] == 1,
               InitialState = row[6] == 1,
               Packed = row[7] == 1,
           },
        new CausalConv1dCase(2, 65, 320, 3) { Bias = true, Silu = true },
        new CausalConv1dCase(2, 65, 320, 4) { InitialState = true },
        new CausalConv1dCase(7, 65, 320, 4) { Bias = true, Silu = true, InitialState = true, Packed = true, TwoGradients = true },
        new CausalConv1dCase(2, 31, 130, 3) { Silu = true, TwoGradients = true },
        new CausalConv1dCase(2, 64, 3, 2) { InitialState = true, TwoGradients = true },
        new CausalConv1dCase(1, 2, 320, 4) { Bias = true, InitialState = true, TwoGradients = true },
        new CausalConv1dCase(2, 100, 50, 4) { Bias = true, Silu = true, InitialState = true, Large = true },
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static CausalConv1dCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The sequences of the case.</summary>
    public PackedSequences Sequences => PackedSequences.Of(Batch, Length, Packed);

    /// <summary>The most steps of a sequence that are run token by token.</summary>
    public const int UpdateSteps = 12;

    /// <summary>The first steps of each sequence, to be run token by token.</summary>
    public CausalConv1dInputs UpdateInputs()
    {
        CausalConv1dInputs all = Inputs();
        return all.Parts(sequence => (0, Math.Min(UpdateSteps, all.Lengths[sequence])));
    }

    /// <summary>The operands, the same in every run.</summary>
    public CausalConv1dInputs Inputs()
    {
        RandomValues random = new(Name);
        PackedSequences sequences = Sequences;
        return new CausalConv1dInputs
        {
            Lengths = sequences.Lengths,
            Slots = sequences.Slots,
            Channels = Channels,
            Width = Width,
            X = random.Normal(sequences.Lengths.Sum() * Channels, 0, Large ? 1e4f : 1),
            Weight = random.Normal(Width * Channels, 0, 0.5f),
            Bias = Bias ? random.Normal(Channels) : null,
            InitialState = InitialState ? random.Normal((sequences.Slots.Max() + 1) * (Width - 1) * Channels) : null,
            Silu = Silu,
        };
    }

    /// <summary>Gradients of the case's results, the same in every run.</summary>
    public CausalConv1dUpstream Upstream()
    {
        RandomValues random = new(Name + " backward");
        PackedSequences sequences = Sequences;
        int elements = sequences.Lengths.Sum() * Channels;
        return new CausalConv1dUpstream(random.Normal(elements), random.Normal((sequences.Slots.Max() + 1) * (Width - 1) * Channels))
        {
            MoreGradY = TwoGradients ? random.Normal(elements) : null,
        };
    }
}
