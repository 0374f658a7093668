namespace MambaCuda;

/// <summary>What a <c>tokenizer.json</c> says of a byte pair tokenizer, read and checked.</summary>
internal sealed record BytePairParts
{
    /// <summary>The vocabulary, spelled in the <see cref="ByteLevelAlphabet"/>.</summary>
    public required Dictionary<string, int> Ids { get; init; }

    /// <summary>The merges.</summary>
    public required BytePairModel Model { get; init; }

    /// <summary>Tokens that are found in text before it is cut into words.</summary>
    public required IReadOnlyList<AddedToken> AddedTokens { get; init; }

    /// <summary>Whether text is brought to normalization form C.</summary>
    public required bool NormalizesToC { get; init; }

    /// <summary>How text is cut into words; the last step spells them in the <see cref="ByteLevelAlphabet"/>.</summary>
    public required IReadOnlyList<PreTokenizer> PreTokenizers { get; init; }

    /// <summary>Ids before every text.</summary>
    public required IReadOnlyList<int> Before { get; init; }

    /// <summary>Ids after every text.</summary>
    public required IReadOnlyList<int> After { get; init; }
}
