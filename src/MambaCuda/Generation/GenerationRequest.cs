namespace MambaCuda;

/// <summary>What to generate.</summary>
public sealed record GenerationRequest
{
    /// <summary>The text to continue; or use <see cref="PromptIds"/>.</summary>
    public string? Prompt { get; init; }

    /// <summary>The tokens to continue, in place of <see cref="Prompt"/>.</summary>
    public IReadOnlyList<int>? PromptIds { get; init; }

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>How many tokens at most; at least 1.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>Strings at which the text ends; they are not part of it.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>Tokens at which the text ends, besides the end of text.</summary>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>Whether the token that ends a text is a token like any other.</summary>
    public bool IgnoreEndOfText { get; init; }

    /// <summary>
    /// A state of one slot to go on from, and to leave where the text ends: every token given to the caller is in it or pending in it
    /// (see <see cref="MambaState.PendingTokens"/>), also when generation is cancelled between two tokens. Left out, the text starts anew.
    /// </summary>
    /// <remarks>
    /// Cancelled within a prompt, it holds all of that too: what was run, and the rest as pending tokens, so a request without a prompt goes on.
    /// Cancelled before the first piece of the prompt was run, it is as it was; <see cref="MambaState.TokenCount"/> tells which.
    /// </remarks>
    public MambaState? State { get; init; }

    /// <summary>
    /// A state of the draft, of one slot, to go on from beside <see cref="State"/> and to leave behind the same tokens; what the draft has not run
    /// of them is pending there. Left out, the draft knows nothing of what was before the request, and guesses worse for it. See
    /// <see cref="TextGeneratorOptions.Draft"/>.
    /// </summary>
    public MambaState? DraftState { get; init; }
}
