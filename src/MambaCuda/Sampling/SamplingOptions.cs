namespace MambaCuda;

/// <summary>
/// How the next token is chosen. The steps are those of the field, in this order: penalties, temperature, top-k, top-p, min-p, a draw.
/// The defaults draw from the model's own distribution.
/// </summary>
public sealed record SamplingOptions
{
    /// <summary>Always the most probable token.</summary>
    public static SamplingOptions Greedy { get; } = new() { Temperature = 0 };

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

    /// <summary>The same seed gives the same text on the same backend; null draws one.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Whether tokens seen before matter.</summary>
    internal bool HasPenalties => RepetitionPenalty != 1 || PresencePenalty != 0 || FrequencyPenalty != 0;

    /// <summary>Throws where a value has no meaning.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A value is out of its range; the message names both.</exception>
    public void Validate()
    {
        Require(Temperature >= 0 && float.IsFinite(Temperature), nameof(Temperature), Temperature, "0 or a positive number");
        Require(TopK >= 0, nameof(TopK), TopK, "0 or a positive number");
        Require(TopP is > 0 and <= 1, nameof(TopP), TopP, "above 0 and at most 1");
        Require(MinP is >= 0 and <= 1, nameof(MinP), MinP, "from 0 to 1");
        Require(
            RepetitionPenalty > 0 && float.IsFinite(RepetitionPenalty), nameof(RepetitionPenalty), RepetitionPenalty, "a positive number");
        Require(float.IsFinite(PresencePenalty), nameof(PresencePenalty), PresencePenalty, "a finite number");
        Require(float.IsFinite(FrequencyPenalty), nameof(FrequencyPenalty), FrequencyPenalty, "a finite number");
    }

    private static void Require(bool condition, string name, object value, string range)
    {
        if (!condition)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be {range}.");
        }
    }
}
