using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>
/// One row of the table of linear layers, for every backend: sizes that no vector or tile divides, and every weight type.
/// </summary>
public sealed record LinearCase(int Rows, int Outputs, int Inputs, DataType WeightType)
{
    private static readonly int[] Sizes = [1, 2, 3, 5, 7, 15, 17, 33, 100];
    private static readonly DataType[] WeightTypes = [DataType.Float32, DataType.BFloat16, DataType.Float16];

    private static readonly bool[] Either = [false, true];
    private static readonly int[] FewRows = [1, 3, 13];
    private static readonly int[] UnalignedInputs = [77];
    private static readonly int[] AlignedInputs = [80];

    // A kernel for one row has one piece a lane, or two.
    private static readonly int[] RowInputs = [80, 1304];

    private static readonly (int Rows, int Outputs, int Inputs)[] VariantSizes =
        [(1, 21, 301), (7, 21, 301), (13, 37, 77), (70, 150, 205), (135, 265, 205)];

    /// <summary>Whether a bias is added.</summary>
    public bool Bias { get; init; }

    /// <summary>Whether y is float32 whatever the activations are, as logits are.</summary>
    public bool FloatResult { get; init; }

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name =>
        $"r{Rows} o{Outputs} i{Inputs} w-{StoredValues.ShortName(WeightType)}{(Bias ? " bias" : "")}{(FloatResult ? " y-fp32" : "")}";

    /// <summary>All pairs of sizes and types, then some of several blocks of outputs and of rows.</summary>
    public static IReadOnlyList<LinearCase> All { get; } =
    [
        .. from row in AllPairs.Rows(Sizes.Length, Sizes.Length, Sizes.Length, WeightTypes.Length, 2)
           select new LinearCase(Sizes[row[0]], Sizes[row[1]], Sizes[row[2]], WeightTypes[row[3]]) { Bias = row[4] == 1 },
        new(61, 2050, 257, DataType.BFloat16) { Bias = true },
        new(300, 130, 770, DataType.Float16),
        new(1, 3001, 768, DataType.Float32) { Bias = true },
        .. from type in WeightTypes from rows in new[] { 1, 21 } select new LinearCase(rows, 37, 77, type) { FloatResult = true },
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static LinearCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>
    /// Cases for each variant that a backend has: the last tile, in every direction, is a part of one of every kind; few rows for the
    /// kernels that are for those, and inputs for which splits have unequal parts.
    /// </summary>
    /// <param name="type">The type of weights and activations, which tensor cores want to be one.</param>
    /// <param name="placement">Where rows are to be aligned, their lengths let them.</param>
    public static IEnumerable<LinearCase> ForVariants(DataType type, RowPlacement placement) =>
        from size in VariantSizes
        let more = placement.Gap % GuardedMatrix.AlignedGap == 0 ? 3 : 0
        select new LinearCase(size.Rows, size.Outputs, size.Inputs + more, type) { Bias = size.Rows % 2 == 1 };

    /// <summary>Cases for every combination of types that a kernel is compiled for, with rows for each that is for few.</summary>
    /// <param name="activation">The type of activations.</param>
    /// <param name="placement">Where rows are to be aligned, their lengths let them.</param>
    public static IEnumerable<LinearCase> ForTypes(DataType activation, RowPlacement placement) =>
        from weight in WeightTypes
        from floatResult in activation == DataType.Float32 ? Either.Take(1) : Either
        from rows in FewRows
        from inputs in placement.Gap % GuardedMatrix.AlignedGap != 0 ? UnalignedInputs
            : rows == 1 && weight == activation ? RowInputs : AlignedInputs
        select new LinearCase(rows, 37, inputs, weight) { FloatResult = floatResult, Bias = rows == FewRows[1] };

    /// <summary>The operands, the same in every run.</summary>
    /// <param name="activation">The type that x is stored in.</param>
    public LinearInputs Operands(DataType activation)
    {
        RandomValues random = new($"{Rows} {Outputs} {Inputs} {WeightType}");
        return new LinearInputs
        {
            X = StoredValues.Round(random.Normal(Rows * Inputs), activation),
            Weight = StoredValues.Round(random.Normal(Outputs * Inputs, 0, 0.1f), WeightType),
            Bias = Bias ? random.Normal(Outputs) : null,
            RowCount = Rows,
            Outputs = Outputs,
            Inputs = Inputs,
            WeightType = WeightType,
            ResultType = FloatResult ? DataType.Float32 : activation,
        };
    }
}

/// <summary>The operands of a linear layer as plain arrays: x (rows, inputs), weight (outputs, inputs), bias (outputs).</summary>
public sealed record LinearInputs
{
    /// <summary>The input, as the type of activations rounds it.</summary>
    public required float[] X { get; init; }

    /// <summary>The weight, as its type rounds it.</summary>
    public required float[] Weight { get; init; }

    /// <summary>The same weight as it is stored where it is quantized, else null.</summary>
    public QuantizedWeight? Quantized { get; init; }

    /// <summary>The bias, or null.</summary>
    public float[]? Bias { get; init; }

    /// <summary>The number of rows.</summary>
    public required int RowCount { get; init; }

    /// <summary>The number of outputs.</summary>
    public required int Outputs { get; init; }

    /// <summary>The number of inputs.</summary>
    public required int Inputs { get; init; }

    /// <summary>The type that the weight is stored in.</summary>
    public required DataType WeightType { get; init; }

    /// <summary>The type that y is stored in.</summary>
    public required DataType ResultType { get; init; }

    /// <summary>The same for some rows of x.</summary>
    public LinearInputs Rows(int first, int count) => this with { X = X[(first * Inputs)..((first + count) * Inputs)], RowCount = count };
}
