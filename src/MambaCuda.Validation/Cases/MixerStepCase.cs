using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of a block's inner part, one token a sequence, for every backend.</summary>
public sealed record MixerStepCase(int Rows, int Channels, int Rank, int StateSize)
{
    /// <summary>The convolution's width.</summary>
    public int Width { get; init; } = 4;

    /// <summary>Whether the convolution has a bias.</summary>
    public bool ConvolutionBias { get; init; } = true;

    /// <summary>Whether states are written where they are read.</summary>
    public bool InPlace { get; init; }

    /// <summary>Whether sequences have slots in an order of their own, one left free.</summary>
    public bool OwnSlots { get; init; }

    /// <summary>How the two projections are quantized, or null.</summary>
    public WeightNumbers? Quantized { get; init; }

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => $"r{Rows} c{Channels} rank{Rank} n{StateSize} w{Width}{(ConvolutionBias ? " bias" : "")}"
        + $"{(InPlace ? " in-place" : "")}{(OwnSlots ? " slots" : "")}{(Quantized is null ? "" : $" w-{Quantized}")}";

    /// <summary>Slices of one piece and of two, their last ones in part, and such as no kernel of its own takes.</summary>
    public static IReadOnlyList<MixerStepCase> All { get; } =
    [
        new(1, 8, 8, 1),
        new(1, 264, 16, 16) { InPlace = true },
        new(2, 56, 40, 5) { ConvolutionBias = false, OwnSlots = true },
        new(4, 304, 8, 16) { OwnSlots = true },
        new(1, 8200, 8, 2),
        new(1, 2056, 136, 16) { ConvolutionBias = false },
        new(3, 2064, 256, 9) { InPlace = true },
        new(1, 64, 8, 16) { Width = 3 },
        new(1, 64, 8, 17),
        new(1, 70, 3, 5),
        new(9, 64, 8, 16) { OwnSlots = true },

        // Tiles of rows, of channels and of outputs, the last ones in part; several shares, and more than there may be.
        new(5, 8, 8, 1) { InPlace = true },
        new(7, 328, 48, 16) { OwnSlots = true },
        new(8, 64, 16, 5) { ConvolutionBias = false, InPlace = true },
        new(17, 680, 160, 16) { InPlace = true, OwnSlots = true },
        new(33, 72, 24, 16) { OwnSlots = true },
        new(64, 96, 48, 9) { InPlace = true },
        new(65, 1288, 40, 3) { ConvolutionBias = false },
        new(6, 1544, 48, 16) { OwnSlots = true },
        new(9, 5128, 160, 16) { InPlace = true },
        .. from numbers in WeightNumbers.All
           from sizes in new MixerStepCase[]
           {
               new(1, 56, 40, 5),
               new(1, 2056, 136, 16) { InPlace = true },
               new(3, 304, 8, 16) { OwnSlots = true },
               new(2, 2064, 160, 9),
               new(6, 72, 8, 2),
           }
           select sizes with { Quantized = numbers },
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static MixerStepCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run; values of the sizes that a model has.</summary>
    /// <param name="activation">The type of activations, which projections of floats have too.</param>
    public MixerStepInputs Operands(DataType activation)
    {
        RandomValues random = new(Name);
        int slots = OwnSlots ? Rows + 1 : Rows, outputs = Rank + (2 * StateSize);
        float[] Rounded(int count, float deviation) => StoredValues.Round(random.Normal(count, 0, deviation), activation);
        QuantizedWeight? scan = Quantized?.Random(random, outputs, Channels), timeStep = Quantized?.Random(random, Channels, Rank);
        return new MixerStepInputs
        {
            Case = this,
            Slots = [.. Enumerable.Range(0, Rows).Select(row => OwnSlots ? Rows - row : row)],
            SlotCount = slots,
            X = Rounded(Rows * Channels, 1),
            Z = Rounded(Rows * Channels, 1),
            ConvolutionWeight = random.Normal(Width * Channels, 0, 0.5f),
            ConvolutionBias = ConvolutionBias ? random.Normal(Channels, 0, 0.2f) : null,
            ConvolutionState = random.Normal(slots * (Width - 1) * Channels),
            ScanProjection = scan?.Weights() ?? Rounded(outputs * Channels, 1 / MathF.Sqrt(Channels)),
            QuantizedScanProjection = scan,
            TimeStepProjection = timeStep?.Weights() ?? Rounded(Channels * Rank, 1 / MathF.Sqrt(Rank)),
            QuantizedTimeStepProjection = timeStep,
            TimeStepBias = random.Uniform(Channels, -5, -1),
            A = [.. random.Uniform(StateSize * Channels, -16, -0.5f)],
            D = random.Normal(Channels, 1, 0.3f),
            State = random.Normal(slots * StateSize * Channels),
        };
    }
}

/// <summary>The operands as plain arrays, of the shapes that <see cref="MixerStepArgs"/> says.</summary>
public sealed record MixerStepInputs
{
    /// <summary>The sizes.</summary>
    public required MixerStepCase Case { get; init; }

    /// <summary>The slot of each row.</summary>
    public required int[] Slots { get; init; }

    /// <summary>How many slots there are.</summary>
    public required int SlotCount { get; init; }

    /// <summary>Input of the convolution.</summary>
    public required float[] X { get; init; }

    /// <summary>The gate.</summary>
    public required float[] Z { get; init; }

    /// <summary>The convolution's kernel.</summary>
    public required float[] ConvolutionWeight { get; init; }

    /// <summary>Its bias, or null.</summary>
    public float[]? ConvolutionBias { get; init; }

    /// <summary>Its state.</summary>
    public required float[] ConvolutionState { get; init; }

    /// <summary>Gives low-rank delta, B and C.</summary>
    public required float[] ScanProjection { get; init; }

    /// <summary>The same weight as it is stored where it is quantized, else null.</summary>
    public QuantizedWeight? QuantizedScanProjection { get; init; }

    /// <summary>Gives delta.</summary>
    public required float[] TimeStepProjection { get; init; }

    /// <summary>The same weight as it is stored where it is quantized, else null.</summary>
    public QuantizedWeight? QuantizedTimeStepProjection { get; init; }

    /// <summary>Added to delta.</summary>
    public required float[] TimeStepBias { get; init; }

    /// <summary>A.</summary>
    public required float[] A { get; init; }

    /// <summary>D.</summary>
    public required float[] D { get; init; }

    /// <summary>The scan's state.</summary>
    public required float[] State { get; init; }
}

/// <summary>What it leaves: y, (rows, channels), and the states, those of free slots as they were.</summary>
public sealed record MixerStepResult<T>(T[] Y, T[] ConvolutionState, T[] State);
