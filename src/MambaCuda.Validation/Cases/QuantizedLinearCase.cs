using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>
/// One row of the table of linear layers with a quantized weight, for every backend: sizes that end inside pieces, groups and blocks, and
/// more rows than are computed from the numbers themselves.
/// </summary>
public sealed record QuantizedLinearCase(int Rows, int Outputs, int Inputs, QuantizedType Type, int GroupSize)
{
    private static readonly int[] RowCounts = [1, 2, 7, 9, 17, 70];
    private static readonly int[] OutputCounts = [1, 15, 17, 40];
    private static readonly int[] InputCounts = [1, 31, 40, 64, 104, 129, 304];

    private static readonly WeightNumbers[] Types = [.. WeightNumbers.All];

    /// <summary>Whether a bias is added.</summary>
    public bool Bias { get; init; }

    /// <summary>Whether y is float32 whatever the activations are, as logits are.</summary>
    public bool FloatResult { get; init; }

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name =>
        $"r{Rows} o{Outputs} i{Inputs} w-{new WeightNumbers(Type, GroupSize)}{(Bias ? " bias" : "")}{(FloatResult ? " y-fp32" : "")}";

    /// <summary>All pairs of sizes and types, then some of many steps and warps, and of one row that ends inside a lane's piece.</summary>
    public static IReadOnlyList<QuantizedLinearCase> All { get; } =
    [
        .. from row in AllPairs.Rows(RowCounts.Length, OutputCounts.Length, InputCounts.Length, Types.Length, 2, 2)
           let type = Types[row[3]]
           select new QuantizedLinearCase(RowCounts[row[0]], OutputCounts[row[1]], InputCounts[row[2]], type.Type, type.GroupSize)
           {
               Bias = row[4] == 1,
               FloatResult = row[5] == 1,
           },
        .. from type in Types
           from rows in new[] { 1, 11 }
           select new QuantizedLinearCase(rows, 33, 1568, type.Type, type.GroupSize) { FloatResult = rows == 11 },
        .. from type in Types
           from inputs in new[] { 488, 2552 }
           select new QuantizedLinearCase(1, 37, inputs, type.Type, type.GroupSize) { Bias = inputs == 488 },
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static QuantizedLinearCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run.</summary>
    /// <param name="activation">The type that x is stored in.</param>
    public LinearInputs Operands(DataType activation)
    {
        RandomValues random = new($"{Rows} {Outputs} {Inputs} {Type} {GroupSize}");
        QuantizedWeight weight = QuantizedWeight.Random(random, Outputs, new QuantizedLayout(Type, Inputs, GroupSize));
        return new LinearInputs
        {
            X = StoredValues.Round(random.Normal(Rows * Inputs), activation),
            Weight = weight.Weights(),
            Quantized = weight,
            Bias = Bias ? random.Normal(Outputs) : null,
            RowCount = Rows,
            Outputs = Outputs,
            Inputs = Inputs,
            WeightType = DataType.Float32,
            ResultType = FloatResult ? DataType.Float32 : activation,
        };
    }
}

/// <summary>How weights are quantized.</summary>
public sealed record WeightNumbers(QuantizedType Type, int GroupSize)
{
    /// <summary>All ways.</summary>
    public static IEnumerable<WeightNumbers> All =>
        Enum.GetValues<QuantizedType>().SelectMany(type => QuantizedLayout.GroupSizesOf(type).Select(size => new WeightNumbers(type, size)));

    /// <summary>A weight of any numbers.</summary>
    /// <param name="random">Where they come from.</param>
    /// <param name="outputs">Its rows.</param>
    /// <param name="inputs">Its columns.</param>
    /// <param name="size">About how large the largest weights are.</param>
    public QuantizedWeight Random(RandomValues random, int outputs, int inputs, float size = 0.1f) =>
        QuantizedWeight.Random(random, outputs, new QuantizedLayout(Type, inputs, GroupSize), size);

    /// <summary>As in "int4/32".</summary>
    public override string ToString() => $"{(Type == QuantizedType.Int8 ? "int8" : "int4")}/{GroupSize}";
}

/// <summary>A quantized weight as plain arrays.</summary>
/// <param name="Layout">How its rows are stored.</param>
/// <param name="Numbers">The numbers, (outputs, inputs).</param>
/// <param name="Scales">The scales, (outputs, groups), as bfloat16 rounds them.</param>
public sealed record QuantizedWeight(QuantizedLayout Layout, int[] Numbers, float[] Scales)
{
    /// <summary>Any numbers that there can be, and scales of either sign.</summary>
    public static QuantizedWeight Random(RandomValues random, int outputs, QuantizedLayout layout, float size = 0.1f)
    {
        ArgumentNullException.ThrowIfNull(random);
        (int least, int count) = layout.Type == QuantizedType.Int8 ? (-127, 255) : (-8, 16);
        return new QuantizedWeight(
            layout, [.. random.Integers(outputs * layout.Columns, count).Select(number => number + least)],
            StoredValues.Round(random.Normal(outputs * layout.Groups, 0, 2 * size / count), DataType.BFloat16));
    }

    /// <summary>The weights, each a number times its scale, which float32 holds exactly.</summary>
    public float[] Weights() =>
        [.. Numbers.Select((number, i) => number * Scales[(i / Layout.Columns * Layout.Groups) + (i % Layout.Columns / Layout.GroupSize)])];

    /// <summary>The numbers as they are stored, rows of <see cref="QuantizedLayout.RowBytes"/>.</summary>
    public byte[] Bytes() => [.. Numbers.Chunk(Math.Max(1, Layout.Columns)).SelectMany(Row)];

    private IEnumerable<byte> Row(int[] numbers)
    {
        if (Layout.Type == QuantizedType.Int8)
        {
            return numbers.Select(number => (byte)number).Concat(Enumerable.Repeat((byte)0, Layout.RowBytes - numbers.Length));
        }

        byte[] row = new byte[Layout.RowBytes];
        for (int column = 0; column < 2 * row.Length; column += 8)
        {
            uint word = 0;
            foreach ((int place, int bit) in new[] { (0, 0), (1, 16), (2, 4), (3, 20), (4, 8), (5, 24), (6, 12), (7, 28) })
            {
                int number = column + place < numbers.Length ? numbers[column + place] : 0;
                word |= (uint)(number + 8) << bit;
            }

            BitConverter.TryWriteBytes(row.AsSpan(column / 2), word);
        }

        return row;
    }
}
