using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of gathers, for every backend.</summary>
/// <param name="Type">The type of the source.</param>
/// <param name="Columns">The length of its rows.</param>
public sealed record GatherRowsCase(DataType Type, int Columns)
{
    private const int SourceRows = 31;

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => $"c{Columns} {StoredValues.ShortName(Type)}";

    /// <summary>Rows of every length in bytes that copies can be cut into.</summary>
    public static IReadOnlyList<GatherRowsCase> All { get; } =
    [
        new(DataType.Float32, 1),
        new(DataType.UInt8, 35),
        new(DataType.Float32, 33),
        new(DataType.BFloat16, 7),
        new(DataType.Float16, 100),
        new(DataType.BFloat16, 4800),
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static GatherRowsCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run: the first and the last row are among the chosen, and one twice.</summary>
    public RowInputs Inputs()
    {
        RandomValues random = new($"{Type} {Columns}");
        float[] numbers = Type == DataType.UInt8 ? random.Uniform(SourceRows * Columns, 0, 256) : random.Normal(SourceRows * Columns);
        float[] source = StoredValues.Round(numbers, Type);
        return new RowInputs(Type, Columns, source, [SourceRows - 1, 0, 0, .. random.Integers(20, SourceRows)]);
    }
}
