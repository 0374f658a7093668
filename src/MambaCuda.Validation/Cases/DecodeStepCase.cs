using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of a whole step of decode.</summary>
public sealed record DecodeStepCase(int Rows, int Width, int Channels, int Rank, int StateSize)
{
    /// <summary>The convolution's width.</summary>
    public const int ConvolutionWidth = 4;

    /// <summary>Added to the mean square of every norm.</summary>
    public const float Epsilon = 1e-5f;

    private static readonly int[] WideRows = [1, 2, 4];
    private static readonly int[] WideChannels = [8, 12, 16, 24, 32, 40];
    private static readonly WeightNumbers[] WideNumbers = [new(QuantizedType.Int8, 64), new(QuantizedType.Int4, 32)];

    /// <summary>How many layers there are.</summary>
    public int LayerCount { get; init; } = 2;

    /// <summary>How many tokens there are.</summary>
    public int Vocabulary { get; init; } = 50;

    /// <summary>Whether the convolution has a bias.</summary>
    public bool ConvolutionBias { get; init; } = true;

    /// <summary>Whether states are written where they are read.</summary>
    public bool InPlace { get; init; }

    /// <summary>Whether sequences have slots in an order of their own, one left free.</summary>
    public bool OwnSlots { get; init; }

    /// <summary>How the projections and the head are quantized, or null.</summary>
    public WeightNumbers? Quantized { get; init; }

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => $"r{Rows} d{Width} c{Channels} rank{Rank} n{StateSize} l{LayerCount} v{Vocabulary}{(ConvolutionBias ? " bias" : "")}"
        + $"{(InPlace ? " in-place" : "")}{(OwnSlots ? " slots" : "")}{(Quantized is null ? "" : $" w-{Quantized}")}";

    /// <summary>
    /// Small ones that any device takes: 1, 2 and 4 rows and one that is filled up, a vocabulary of less and more than a block multiplies at
    /// once, ranks of a piece and of two.
    /// </summary>
    public static IReadOnlyList<DecodeStepCase> All { get; } =
    [
        new(1, 32, 32, 8, 1) { LayerCount = 1 },
        new(1, 96, 64, 40, 16) { Vocabulary = 203 },
        new(1, 64, 64, 16, 16) { InPlace = true, LayerCount = 3 },
        new(2, 96, 64, 8, 5) { ConvolutionBias = false, OwnSlots = true },
        new(3, 64, 32, 32, 9) { OwnSlots = true },
        new(4, 128, 64, 24, 16) { InPlace = true, OwnSlots = true, Vocabulary = 333 },
        .. from numbers in WeightNumbers.All
           where numbers.GroupSize < 128
           from sizes in new DecodeStepCase[] { new(1, 128, 128, 40, 16) { InPlace = true }, new(1, 128, 128, 160, 5) { Vocabulary = 203 } }
           select sizes with { Quantized = numbers },
    ];

    /// <summary>
    /// So many channels that the blocks of a device have more and more of them, the last block fewer than the others where the number of
    /// multiprocessors has it so; on a large device inputs are more than one chunk, the last in part.
    /// </summary>
    public static IEnumerable<DecodeStepCase> Wide(int multiprocessors) =>
    [
        .. (from rows in WideRows
            from own in WideChannels
            where rows < 4 || own <= 24
            let channels = Math.Max(1, own * multiprocessors / 32) * 32
            select new DecodeStepCase(rows, Math.Max(1, channels / 64) * 32, channels, 48, 16)
            {
                LayerCount = own <= 16 ? 1 : 2,
                OwnSlots = rows > 1,
            }).Distinct(),
        .. (from numbers in WideNumbers
            from own in WideChannels
            where own % 8 == 0
            let channels = Math.Max(1, own * multiprocessors / 128) * 128
            select new DecodeStepCase(1, Math.Max(1, channels / 256) * 128, channels, 160, 16) { Quantized = numbers }).Distinct(),

        // Rows of at least two groups.
        .. from numbers in WeightNumbers.All
           where numbers.GroupSize == 128
           let channels = 24 * multiprocessors / 256 * 256
           where channels > 0
           select new DecodeStepCase(1, channels, channels, 48, 16) { Quantized = numbers },
        .. Enumerable.Repeat(FewStages(multiprocessors), multiprocessors < 16 ? 0 : 1),
    ];

    /// <summary>
    /// Of so high a rank that the ring has two stages of each warp that fetches, while a block's part of the residual stream is few rows, of
    /// which more would be under way at once. From 16 multiprocessors on.
    /// </summary>
    public static DecodeStepCase FewStages(int multiprocessors) =>
        new(1, multiprocessors / 8 * 32, 40 * multiprocessors / 32 * 32, 840, 16) { LayerCount = 2 };

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static DecodeStepCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run; values of the sizes that a model has.</summary>
    /// <param name="activation">The type of the weights of products.</param>
    public DecodeStepInputs Operands(DataType activation)
    {
        RandomValues random = new(Name);
        int slots = OwnSlots ? Rows + 1 : Rows, outputs = Rank + (2 * StateSize);
        DecodeStepWeight Weight(int rows, int columns)
        {
            QuantizedWeight? quantized = Quantized?.Random(random, rows, columns, 1 / MathF.Sqrt(columns));
            return new DecodeStepWeight(
                quantized?.Weights() ?? StoredValues.Round(random.Normal(rows * columns, 0, 1 / MathF.Sqrt(columns)), activation), quantized);
        }

        return new DecodeStepInputs
        {
            Case = this,
            Slots = [.. Enumerable.Range(0, Rows).Select(row => OwnSlots ? Rows - row : row)],
            SlotCount = slots,
            Tokens = random.Integers(Rows, Vocabulary),
            Embedding = StoredValues.Round(random.Normal(Vocabulary * Width), activation),
            FinalNormWeight = random.Normal(Width, 1, 0.3f),
            Head = Weight(Vocabulary, Width),
            Layers =
            [
                .. Enumerable.Range(0, LayerCount).Select(_ => new DecodeStepLayerInputs
                {
                    NormWeight = random.Normal(Width, 1, 0.3f),
                    InProjection = Weight(2 * Channels, Width),
                    ConvolutionWeight = random.Normal(ConvolutionWidth * Channels, 0, 0.5f),
                    ConvolutionBias = ConvolutionBias ? random.Normal(Channels, 0, 0.2f) : null,
                    ConvolutionState = random.Normal(slots * (ConvolutionWidth - 1) * Channels),
                    ScanProjection = Weight(outputs, Channels),
                    TimeStepProjection = Weight(Channels, Rank),
                    TimeStepBias = random.Uniform(Channels, -5, -1),
                    A = random.Uniform(StateSize * Channels, -16, -0.5f),
                    D = random.Normal(Channels, 1, 0.3f),
                    State = random.Normal(slots * StateSize * Channels),
                    OutProjection = Weight(Width, Channels),
                }),
            ],
        };
    }
}

/// <summary>The operands as plain arrays, of the shapes that <see cref="DecodeStepArgs"/> says.</summary>
public sealed record DecodeStepInputs
{
    /// <summary>The sizes.</summary>
    public required DecodeStepCase Case { get; init; }

    /// <summary>The slot of each row.</summary>
    public required int[] Slots { get; init; }

    /// <summary>How many slots there are.</summary>
    public required int SlotCount { get; init; }

    /// <summary>The token of each row.</summary>
    public required int[] Tokens { get; init; }

    /// <summary>The embedding.</summary>
    public required float[] Embedding { get; init; }

    /// <summary>The weight of the norm behind the layers.</summary>
    public required float[] FinalNormWeight { get; init; }

    /// <summary>The head.</summary>
    public required DecodeStepWeight Head { get; init; }

    /// <summary>The layers.</summary>
    public required IReadOnlyList<DecodeStepLayerInputs> Layers { get; init; }
}

/// <summary>The operands of a layer, of the shapes that <see cref="DecodeStepLayer"/> says.</summary>
public sealed record DecodeStepLayerInputs
{
    /// <summary>The weight of the norm.</summary>
    public required float[] NormWeight { get; init; }

    /// <summary>Gives x and z.</summary>
    public required DecodeStepWeight InProjection { get; init; }

    /// <summary>The convolution's kernel.</summary>
    public required float[] ConvolutionWeight { get; init; }

    /// <summary>Its bias, or null.</summary>
    public required float[]? ConvolutionBias { get; init; }

    /// <summary>Its state.</summary>
    public required float[] ConvolutionState { get; init; }

    /// <summary>Gives low-rank delta, B and C.</summary>
    public required DecodeStepWeight ScanProjection { get; init; }

    /// <summary>Gives delta.</summary>
    public required DecodeStepWeight TimeStepProjection { get; init; }

    /// <summary>Added to delta.</summary>
    public required float[] TimeStepBias { get; init; }

    /// <summary>A.</summary>
    public required float[] A { get; init; }

    /// <summary>D.</summary>
    public required float[] D { get; init; }

    /// <summary>The scan's state.</summary>
    public required float[] State { get; init; }

    /// <summary>Gives what is added to the residual stream.</summary>
    public required DecodeStepWeight OutProjection { get; init; }
}

/// <summary>What it leaves: logits, (rows, vocabulary), and layer by layer the states, those of free slots as they were.</summary>
public sealed record DecodeStepResult<T>(T[] Logits, T[] ConvolutionStates, T[] States);

/// <summary>A weight: what each element is, and how it is stored where it is quantized.</summary>
public sealed record DecodeStepWeight(float[] Values, QuantizedWeight? Quantized);
