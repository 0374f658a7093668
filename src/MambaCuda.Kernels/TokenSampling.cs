namespace MambaCuda.Kernels;

/// <summary>
/// How the next token of a row is chosen: a row of <see cref="SampleTokensArgs.Options"/>. In this order: penalties, temperature, top-k,
/// top-p, min-p, a draw. The defaults draw from the model's own distribution.
/// </summary>
public readonly record struct TokenSampling()
{
    /// <summary>The number of columns that it takes.</summary>
    public const int Columns = 7;

    /// <summary>Logits are divided by it; 0 chooses the most probable token.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Only the k most probable tokens; 0 for all.</summary>
    public int TopK { get; init; }

    /// <summary>Only the most probable tokens that together reach this probability; 1 for all. The token that reaches it counts.</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Only tokens at least this many times as probable as the most probable one; 0 for all.</summary>
    public float MinP { get; init; }

    /// <summary>Positive logits of tokens seen before are divided by it, negative ones multiplied; 1 for none.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>Taken from the logit of every token seen before.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Taken from the logit of a token for each time that it was seen.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Reads the columns of a row.</summary>
    public static TokenSampling FromColumns(ReadOnlySpan<float> columns) => new()
    {
        Temperature = columns[0],
        TopK = (int)columns[1],
        TopP = columns[2],
        MinP = columns[3],
        RepetitionPenalty = columns[4],
        PresencePenalty = columns[5],
        FrequencyPenalty = columns[6],
    };

    /// <summary>Writes the columns of a row.</summary>
    public void CopyTo(Span<float> columns)
    {
        columns[0] = Temperature;
        columns[1] = TopK;
        columns[2] = TopP;
        columns[3] = MinP;
        columns[4] = RepetitionPenalty;
        columns[5] = PresencePenalty;
        columns[6] = FrequencyPenalty;
    }
}
