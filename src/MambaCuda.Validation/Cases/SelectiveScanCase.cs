using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>
/// One row of the table of selective scans. Every backend and the benchmarks take their shapes from it. <see cref="Inputs"/> makes the
/// operands, the same in every run.
/// </summary>
public sealed record SelectiveScanCase(int Batch, int Length, int Channels, int StateSize)
{
    private const int MaxStateSize = Backend.MaxStateSize;

    private static readonly int[] Batches = [1, 2, 7];
    private static readonly int[] Lengths = [1, 2, 31, 64, 65, 1000];
    private static readonly int[] ChannelCounts = [1, 3, 96, 130];
    private static readonly int[] StateSizes = [1, 16, 33];
    private static readonly int[] OtherStateSizes = [4, 8, 64, 100, MaxStateSize];
    private static readonly (bool B, bool C)[] Constants = [(true, true), (true, false), (false, true)];
    private static readonly int[] TiledStateSizes = [4, 8, 16, 32, 64];

    // Of a multiprocessor; see ScanPlanner.
    private static readonly int[] ChannelsEach = [20, 128];
    private static readonly int[] UsualChannelsEach = [8, 20, 48, 100, 128];
    private static readonly int[] ComplexLengths = [1, 33, 70];
    private static readonly int[] ComplexStateSizes = [1, 16, 33, 100, MaxStateSize];

    /// <summary>Groups of channels that share B and C.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Whether there is D.</summary>
    public bool Skip { get; init; } = true;

    /// <summary>Whether there is z.</summary>
    public bool Gate { get; init; } = true;

    /// <summary>Whether a bias is added to delta.</summary>
    public bool DeltaBias { get; init; } = true;

    /// <summary>Whether delta runs through softplus.</summary>
    public bool Softplus { get; init; } = true;

    /// <summary>Whether sequences go on from a state.</summary>
    public bool InitialState { get; init; }

    /// <summary>Sequences of different lengths, their states in another order.</summary>
    public bool Packed { get; init; }

    /// <summary>Whether B does not depend on the input.</summary>
    public bool ConstantB { get; init; }

    /// <summary>Whether C does not depend on the input.</summary>
    public bool ConstantC { get; init; }

    /// <summary>How often the channels stand side by side.</summary>
    public int Copies { get; init; } = 1;

    /// <summary>Whether A is complex.</summary>
    public bool IsComplex { get; init; }

    /// <summary>Steps up to 50, A down to -1e4, inputs up to 1e4, softplus over -100 to 100.</summary>
    public bool Large { get; init; }

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => string.Join(' ', new[]
    {
        $"b{Batch}", $"l{Length}", $"c{Channels}{(Copies == 1 ? "" : $"x{Copies}")}", $"n{StateSize}", $"g{Groups}",
        Skip ? "D" : "", Gate ? "z" : "", DeltaBias ? "bias" : "",
        Softplus ? "softplus" : "", InitialState ? "h0" : "", Packed ? "packed" : "", ConstantB ? "constB" : "",
        ConstantC ? "constC" : "", IsComplex ? "complex" : "", Large ? "large" : "",
    }.Where(word => word.Length > 0));

    /// <summary>All pairs of sizes and options, the other state sizes singly, and large values; of real A.</summary>
    public static IReadOnlyList<SelectiveScanCase> All { get; } = [.. Pairs(), .. Single(), .. LargeValues()];

    /// <summary>
    /// Complex A, which has no gradients: phases as S4D-Lin starts them, pi n, which the audio variant of the paper has.
    /// </summary>
    public static IReadOnlyList<SelectiveScanCase> Complex { get; } =
    [
        .. (from row in AllPairs.Rows(ComplexStateSizes.Length, 4, 2, 2, 2, ComplexLengths.Length)
           let constantB = row[1] is 1 or 3
           let constantC = row[1] is 2 or 3
           select new SelectiveScanCase(2, ComplexLengths[row[5]], 38, ComplexStateSizes[row[0]])
           {
               IsComplex = true,
               ConstantB = constantB,
               ConstantC = constantC,
               Groups = row[2] == 0 || (constantB && constantC) ? 1 : 2,
               Packed = row[3] == 1,
               InitialState = row[4] == 1,
           }).Distinct(),
    ];

    /// <summary>
    /// Long enough, and of few enough channels, that CUDA cuts the sequences into chunks; one is shorter than a chunk. For each state size
    /// that its tiles are for.
    /// </summary>
    public static IReadOnlyList<SelectiveScanCase> Long { get; } =
        [.. from stateSize in TiledStateSizes select new SelectiveScanCase(2, 4501, 16, stateSize) { InitialState = true, Packed = true }];

    /// <summary>
    /// The cases of <see cref="All"/> and <see cref="Complex"/> whose first steps are run token by token, long enough that every sequence has about as many: over one
    /// or two steps, a plain evaluation may be right by luck.
    /// </summary>
    public static IReadOnlyList<SelectiveScanCase> Updates { get; } = [.. All.Concat(Complex).Select(row => row with { Length = 64 }).Distinct()];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static SelectiveScanCase Named(string name) => All.Concat(Complex).Concat(Updates).First(row => row.Name == name);

    /// <summary>
    /// As many channels as make a card of so many multiprocessors choose each of its tiles, of which there are most for the state size of
    /// the published models. Few channels again and again: of thousands that differ, some plain evaluation would be right by luck.
    /// </summary>
    public static IEnumerable<SelectiveScanCase> Wide(int multiprocessors)
    {
        const int Batch = 2, Distinct = 8;
        return
            from stateSize in TiledStateSizes
            from each in stateSize == 16 ? UsualChannelsEach : ChannelsEach
            let copies = ((each * multiprocessors / Batch) + Distinct - 1) / Distinct
            let length = each <= 20 ? 150 : stateSize <= 16 ? 70 : 37
            select new SelectiveScanCase(Batch, length, Distinct, stateSize) { Copies = copies };
    }

    /// <summary>The most steps of a sequence that are run token by token.</summary>
    public const int UpdateSteps = 12;

    /// <summary>The first steps of each sequence, to be run token by token; see <see cref="Updates"/>.</summary>
    public SelectiveScanInputs UpdateInputs()
    {
        SelectiveScanInputs all = Inputs();
        return all.Parts(sequence => (0, Math.Min(UpdateSteps, all.Lengths[sequence])));
    }

    /// <summary>Whether a plain evaluation in the type has a result: large values are beyond float16.</summary>
    public bool Fits(DataType activation) => !Large || activation != DataType.Float16;

    /// <summary>The sequences of the case.</summary>
    public PackedSequences Sequences => PackedSequences.Of(Batch, Length, Packed);

    /// <summary>
    /// The operands, one copy of the channels, with values as a trained model has them: decays from none to all within a few steps.
    /// </summary>
    public SelectiveScanInputs Inputs()
    {
        RandomValues random = new(Name);
        PackedSequences sequences = Sequences;
        int tokens = sequences.Lengths.Sum();
        int stateRows = IsComplex ? 2 * StateSize : StateSize;
        int states = (sequences.Slots.Max() + 1) * stateRows;
        float[] InputMatrix(bool constant) => random.Normal(constant ? stateRows * Channels : tokens * Groups * stateRows);
        return new SelectiveScanInputs
        {
            Lengths = sequences.Lengths,
            Slots = sequences.Slots,
            Channels = Channels,
            StateSize = StateSize,
            Groups = Groups,
            U = random.Normal(tokens * Channels, 0, Large ? 1e4f : 1),
            Delta = (Softplus, Large) switch
            {
                (true, false) => random.Normal(tokens * Channels, -2, 1.5f),
                (true, true) => random.Uniform(tokens * Channels, -100, 100),
                (false, false) => random.Uniform(tokens * Channels, 0.001f, 0.5f),
                (false, true) => random.Uniform(tokens * Channels, 0, 50),
            },
            A = Large
                ? [.. random.Uniform(StateSize * Channels, -4, 4).Select(power => -MathF.Pow(10, power))]
                : [.. random.Uniform(StateSize * Channels, 0.5f, 1.5f).Select((factor, i) => -factor * ((i / Channels) + 1))],
            B = InputMatrix(ConstantB),
            C = InputMatrix(ConstantC),
            D = Skip ? random.Normal(Channels) : null,
            Z = Gate ? random.Normal(tokens * Channels, 0, Large ? 30 : 2) : null,
            DeltaBias = !DeltaBias ? null : Softplus ? random.Uniform(Channels, -2, 1) : random.Uniform(Channels, 0, 0.1f),
            InitialState = InitialState ? random.Normal(states * Channels) : null,
            AImaginary = IsComplex
                ? [.. random.Uniform(StateSize * Channels, 0.5f, 1.5f).Select((factor, i) => factor * MathF.PI * (i / Channels))]
                : null,
            DeltaSoftplus = Softplus,
            ConstantB = ConstantB,
            ConstantC = ConstantC,
        };
    }

    /// <summary>Gradients of the case's results, the same in every run.</summary>
    public SelectiveScanUpstream Upstream()
    {
        RandomValues random = new(Name + " backward");
        PackedSequences sequences = Sequences;
        return new SelectiveScanUpstream(
            random.Normal(sequences.Lengths.Sum() * Channels), random.Normal((sequences.Slots.Max() + 1) * StateSize * Channels));
    }

    private static IEnumerable<SelectiveScanCase> Pairs() =>
        from row in AllPairs.Rows(Lengths.Length, ChannelCounts.Length, Batches.Length, StateSizes.Length, 4, 2, 2, 2, 2, 2, 2, 2)
        let channels = ChannelCounts[row[1]]
        let constantB = row[4] is 1 or 3
        let constantC = row[4] is 2 or 3
        select new SelectiveScanCase(Batches[row[2]], Lengths[row[0]], channels, StateSizes[row[3]])
        {
            ConstantB = constantB,
            ConstantC = constantC,
            Groups = row[5] == 0 || (constantB && constantC) ? 1 : channels % 2 == 0 ? 2 : channels,
            Skip = row[6] == 1,
            Gate = row[7] == 1,
            DeltaBias = row[8] == 1,
            Softplus = row[9] == 1,
            InitialState = row[10] == 1,
            Packed = row[11] == 1,
        };

    private static IEnumerable<SelectiveScanCase> Single() =>
        from stateSize in OtherStateSizes
        from constant in stateSize < 100 ? [(false, false)] : Constants.Append((false, false))
        select new SelectiveScanCase(2, 33, 70, stateSize)
        {
            InitialState = true,
            Packed = true,
            ConstantB = constant.Item1,
            ConstantC = constant.Item2,
        };

    private static IEnumerable<SelectiveScanCase> LargeValues() =>
    [
        new(2, 100, 50, 16) { InitialState = true, Large = true },
        new(2, 100, 50, 16) { InitialState = true, Large = true, Softplus = false },
    ];
}
