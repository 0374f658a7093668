namespace MambaCuda;

/// <summary>Why a text ended.</summary>
public enum FinishReason
{
    /// <summary>It goes on.</summary>
    None,

    /// <summary>As many tokens were made as were asked for.</summary>
    MaxTokens,

    /// <summary>A token came that ends a text: the tokenizer's or the model's, or one that was asked for.</summary>
    StopToken,

    /// <summary>A stop string came.</summary>
    StopString,
}
