namespace MambaCuda.Validation;

/// <summary>The operands of attention as plain arrays: q, k and v (tokens, heads * head size).</summary>
public sealed record AttentionInputs
{
    /// <summary>The length of each sequence.</summary>
    public required int[] Lengths { get; init; }

    /// <summary>The number of heads.</summary>
    public required int Heads { get; init; }

    /// <summary>The columns of a head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>The queries.</summary>
    public required float[] Q { get; init; }

    /// <summary>The keys.</summary>
    public required float[] K { get; init; }

    /// <summary>The values.</summary>
    public required float[] V { get; init; }

    /// <summary>What scores are multiplied by; null for the usual.</summary>
    public float? Scale { get; init; }

    /// <summary>The tokens of all sequences.</summary>
    public int Tokens => Lengths.Sum();

    /// <summary>The columns of all heads.</summary>
    public int Columns => Heads * HeadSize;

    /// <summary>The scale that is meant, as operations compute it.</summary>
    public float ChosenScale => Scale ?? 1 / MathF.Sqrt(HeadSize);

    /// <summary>The same rounded to what a backend holds.</summary>
    public AttentionInputs Round(Func<float[], float[]> round)
    {
        ArgumentNullException.ThrowIfNull(round);
        return this with { Q = round(Q), K = round(K), V = round(V) };
    }

    /// <summary>Steps [from, to) of each sequence; empty parts are left out.</summary>
    public AttentionInputs Parts(Func<int, (int From, int To)> part)
    {
        PackedParts parts = new(Lengths, part);
        return this with { Lengths = parts.Lengths, Q = parts.Rows(Q, Columns), K = parts.Rows(K, Columns), V = parts.Rows(V, Columns) };
    }
}
