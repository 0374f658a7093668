using System.Globalization;

namespace MambaCuda.Validation;

/// <summary>One row of the table of attention, for every backend.</summary>
public sealed record AttentionCase(int Batch, int Length, int Heads, int HeadSize)
{
    /// <summary>Sequences of different lengths.</summary>
    public bool Packed { get; init; }

    /// <summary>What scores are multiplied by; null for the usual.</summary>
    public float? Scale { get; init; }

    /// <summary>How large queries and keys are: with 8, a few keys have all of the weight.</summary>
    public float Size { get; init; } = 1;

    /// <summary>What it is, for people and as the key of <see cref="Named"/>.</summary>
    public string Name => string.Join(' ', new[]
    {
        $"b{Batch}", $"l{Length}", $"h{Heads}", $"d{HeadSize}", Packed ? "packed" : "",
        Scale is { } scale ? string.Create(CultureInfo.InvariantCulture, $"scale {scale}") : "",
        Size == 1 ? "" : string.Create(CultureInfo.InvariantCulture, $"times {Size}"),
    }.Where(word => word.Length > 0));

    /// <summary>Ends within and at tiles of queries and keys, in heads that tensor cores take and others.</summary>
    public static IReadOnlyList<AttentionCase> All { get; } =
    [
        new(1, 1, 1, 1),
        new(2, 1, 2, 64),
        new(1, 2, 3, 5),
        new(3, 7, 2, 33) { Packed = true },
        new(1, 31, 1, 64),
        new(2, 40, 2, 16) { Scale = 0.5f },
        new(2, 64, 1, 64) { Size = 8 },
        new(1, 65, 1, 128),
        new(3, 66, 1, 64) { Packed = true, Scale = 0.2f },
        new(1, 130, 1, 64),
        new(2, 100, 1, 128) { Packed = true },
        new(1, 130, 1, 100) { Size = 4 },
        new(1, 200, 1, 128),
        new(2, 300, 1, 64) { Packed = true },
    ];

    /// <summary>The names of all cases.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The case of a name.</summary>
    public static AttentionCase Named(string name) => All.Single(row => row.Name == name);

    /// <summary>What there is to compute: products of the scores and of the values.</summary>
    public long Work => Lengths.Sum(length => (long)length * (length + 1)) * Heads * HeadSize;

    private int[] Lengths => PackedSequences.Of(Batch, Length, Packed).Lengths;

    /// <summary>The operands, the same in every run.</summary>
    public AttentionInputs Inputs()
    {
        RandomValues random = new(Name);
        int count = Lengths.Sum() * Heads * HeadSize;
        return new AttentionInputs
        {
            Lengths = Lengths,
            Heads = Heads,
            HeadSize = HeadSize,
            Q = random.Normal(count, 0, Size),
            K = random.Normal(count, 0, Size),
            V = random.Normal(count),
            Scale = Scale,
        };
    }

    /// <summary>The gradient of the case's result, the same in every run.</summary>
    public float[] GradY() => new RandomValues(Name + " backward").Normal(Lengths.Sum() * Heads * HeadSize);
}
