namespace MambaCuda;

/// <summary>How a <see cref="TextGenerator"/> goes about its work; the texts are the same whatever is chosen here.</summary>
public sealed record TextGeneratorOptions
{
    /// <summary>The most tokens that can be proposed at once.</summary>
    public const int MostDraftTokens = 32;

    /// <summary>
    /// Where texts that start anew look for what they begin with, and leave what they have run; belongs to the caller, who may serve several
    /// generators of the model with it. Left out, every prompt is run.
    /// </summary>
    public PromptCache? Cache { get; init; }

    /// <summary>
    /// How many tokens of a prompt run at once: memory does not grow with a longer one, cancellation is looked at between two pieces, and other
    /// texts of the batch wait for a piece at most. At most <see cref="MambaModel.ChunkTokens"/> are.
    /// </summary>
    public int PromptChunkTokens { get; init; } = 4096;

    /// <summary>
    /// A smaller model with the same vocabulary and backend that proposes tokens, which the model checks several at once (speculative decoding,
    /// Leviathan et al. 2023); belongs to the caller. For one text at a time.
    /// </summary>
    /// <remarks>
    /// Each token is chosen from the model's own logits, by the same sampler and the same random numbers as without a draft, at any
    /// temperature and with all filters and penalties; what the draft proposed only decides how many are had from one pass. So the text is the
    /// model's own up to the rounding of a pass over several tokens against passes over one: in float32 tokens differ only where two
    /// are as good as equally probable, in 16 bits where they are equal to the 16-bit rounding of what the logits are made of.
    /// </remarks>
    public MambaModel? Draft { get; init; }

    /// <summary>How many tokens the draft proposes at once; 1 to <see cref="MostDraftTokens"/>.</summary>
    public int DraftTokens { get; init; } = 4;

    internal void Validate(MambaModel model)
    {
        Require(PromptChunkTokens >= 1, nameof(PromptChunkTokens), PromptChunkTokens, "at least 1");
        Require(DraftTokens is >= 1 and <= MostDraftTokens, nameof(DraftTokens), DraftTokens, $"1 to {MostDraftTokens}");
        if (Draft is not null && Draft.Config.VocabularySize != model.Config.VocabularySize)
        {
            throw new ArgumentException(
                $"The draft has a vocabulary of {Draft.Config.VocabularySize}, but the model one of {model.Config.VocabularySize}: tokens of one "
                + "mean nothing to the other. Choose a draft with the model's tokenizer.",
                nameof(model));
        }

        if (Draft is not null && Draft.Backend != model.Backend)
        {
            throw new ArgumentException("The draft is on another backend than the model; load both on one.", nameof(model));
        }
    }

    private static void Require(bool condition, string name, int value, string range)
    {
        if (!condition)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be {range}.");
        }
    }
}
