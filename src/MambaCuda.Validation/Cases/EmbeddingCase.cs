using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>One row of the table of embeddings, for every backend.</summary>
/// <param name="Type">The type that the table is stored in.</param>
/// <param name="Channels">The length of its rows.</param>
public sealed record EmbeddingCase(DataType Type, int Channels)
{
    /// <summary>How many rows a table has.</summary>
    public const int Vocabulary = 29;

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => $"c{Channels} w-{StoredValues.ShortName(Type)}";

    /// <summary>Every type with rows that vectors divide and that none does.</summary>
    public static IReadOnlyList<EmbeddingCase> All { get; } =
    [
        .. from type in new[] { DataType.Float32, DataType.BFloat16, DataType.Float16 }
           from channels in new[] { 1, 7, 33, 64, 2056 }
           select new EmbeddingCase(type, channels),
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static EmbeddingCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>The operands, the same in every run: the first and the last token are among the ids, and one twice.</summary>
    public RowInputs Inputs()
    {
        RandomValues random = new($"{Type} {Channels}");
        float[] table = StoredValues.Round(random.Normal(Vocabulary * Channels), Type);
        return new RowInputs(Type, Channels, table, [0, Vocabulary - 1, 5, 5, .. random.Integers(40, Vocabulary)]);
    }
}

/// <summary>A table of rows as a plain array, (rows, columns), and the numbers of those that are chosen.</summary>
public sealed record RowInputs(DataType Type, int Columns, float[] Table, int[] Chosen);
