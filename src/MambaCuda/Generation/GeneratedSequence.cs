namespace MambaCuda;

/// <summary>One text of a batch while it grows: its sampler, its decoder, its stop conditions.</summary>
internal sealed class GeneratedSequence
{
    private readonly StreamingDecoder _decoder;
    private readonly StopMatcher _stops;
    private readonly HashSet<int> _stopTokens;
    private readonly List<int> _chosen = [];

    public GeneratedSequence(int number, GenerationRequest request, MambaModel model, Tokenizer tokenizer, MambaModel? draft = null)
    {
        Request = request ?? throw new ArgumentException($"Request {number} is null.", nameof(request));
        Number = number;
        if (request.MaxTokens < 1)
        {
            throw new ArgumentException(
                $"Request {number}: MaxTokens is {request.MaxTokens}, but at least one token is generated.", nameof(request));
        }

        if (request.Prompt is not null && request.PromptIds is not null)
        {
            throw new ArgumentException($"Request {number} has a prompt as text and as ids; give one of them.", nameof(request));
        }

        if (request.State is { } state && (state.Model != model || state.SlotCount != 1))
        {
            throw new ArgumentException($"Request {number}: the state must be this model's, with one slot.", nameof(request));
        }

        if (request.DraftState is { } guessing && (guessing.Model != draft || guessing.SlotCount != 1))
        {
            throw new ArgumentException(
                draft is null
                    ? $"Request {number} has a state for a draft, but the generator has no draft."
                    : $"Request {number}: the draft's state must be the draft's, with one slot.",
                nameof(request));
        }

        PromptIds = request.PromptIds is { } ids ? [.. ids] : tokenizer.Encode(request.Prompt ?? "");
        int[] pending = request.State is { } from ? from.PendingTokens().ToArray() : [];
        StartsAnew = request.State is not { } past || (past.TokenCount() == 0 && pending.Length == 0);
        Input = [.. pending, .. PromptIds];
        DraftInput = [.. request.DraftState is { } known ? known.PendingTokens().ToArray() : pending, .. PromptIds];
        if (Input.Length == 0)
        {
            throw new ArgumentException(
                $"Request {number} has an empty prompt and no state to go on from; give at least one token.", nameof(request));
        }

        if (Array.FindIndex(PromptIds, id => id < 0 || id >= model.Config.VocabularySize) is >= 0 and int bad)
        {
            throw new ArgumentException(
                $"Request {number}: prompt token {bad} is {PromptIds[bad]}, which is not in the vocabulary of "
                + $"{model.Config.VocabularySize}.",
                nameof(request));
        }

        Sampler = new Sampler(request.Sampling, model.Config.VocabularySize);
        Sampler.Observe(PromptIds);
        _decoder = new StreamingDecoder(tokenizer, skipSpecial: true);
        _stops = new StopMatcher(request.StopStrings);
        _stopTokens = [.. request.StopTokens];
        if (!request.IgnoreEndOfText)
        {
            _stopTokens.UnionWith(model.Config.EosTokenIds);
            if (tokenizer.EndOfText is { } end)
            {
                _stopTokens.Add(end);
            }
        }
    }

    public GenerationRequest Request { get; }

    /// <summary>The number of its request.</summary>
    public int Number { get; }

    /// <summary>Its slot in the batch's state.</summary>
    public int Slot => Number;

    /// <summary>The prompt's tokens.</summary>
    public int[] PromptIds { get; }

    /// <summary>What is still to be run first: what the state had pending, then the prompt; without what a cache had of it.</summary>
    public int[] Input { get; set; }

    /// <summary>What a draft runs first: what its state had pending, then the prompt.</summary>
    public int[] DraftInput { get; }

    /// <summary>Whether some of the prompt has been run, or found in a cache.</summary>
    public bool HasBegun { get; set; }

    /// <summary>Whether there was nothing before the prompt.</summary>
    public bool StartsAnew { get; }

    /// <summary>The logits behind the prompt, from a cache that had all of it or from its run.</summary>
    public float[] FirstLogits { get; set; } = [];

    /// <summary>The tokens that the state has run, where it began with the prompt: all but the one chosen last.</summary>
    public int[] TokensRun => [.. PromptIds, .. _chosen.SkipLast(1)];

    /// <summary>Chooses its tokens.</summary>
    public Sampler Sampler { get; }

    /// <summary>Whether a <see cref="TokenSource"/> has its state; before, it is in the batch's.</summary>
    public bool HasJoined { get; set; }

    /// <summary>The last token chosen; none before the first.</summary>
    public int? LastId => _chosen.Count == 0 ? null : _chosen[^1];

    /// <summary>How many tokens it got.</summary>
    public int TokensTaken => _chosen.Count;

    /// <summary>How many more it may get.</summary>
    public int TokensLeft => Request.MaxTokens - _chosen.Count;

    /// <summary>Whether the text has ended.</summary>
    public bool Ended { get; private set; }

    /// <summary>Takes from a cache what it has of the prompt.</summary>
    public void Skip(PromptCache cache, MambaState state)
    {
        FirstLogits = new float[state.Model.Config.VocabularySize];
        Input = Input[cache.Restore(Input, state, Slot, FirstLogits)..];
    }

    /// <summary>Leaves the state of a draft that was not needed behind the same tokens as the model's: pending there.</summary>
    public void LeaveDraft()
    {
        if (HasBegun)
        {
            Request.DraftState?.SetPendingTokens([.. DraftInput, .. _chosen]);
        }
    }

    /// <summary>Takes the next token.</summary>
    public GeneratedToken Take(SampledToken sampled)
    {
        _chosen.Add(sampled.Id);

        bool stopToken = _stopTokens.Contains(sampled.Id);
        string text = stopToken ? "" : _stops.Append(_decoder.Append(sampled.Id));
        FinishReason reason =
            _stops.Found is not null ? FinishReason.StopString :
            stopToken ? FinishReason.StopToken :
            _chosen.Count == Request.MaxTokens ? FinishReason.MaxTokens :
            FinishReason.None;
        if (reason is FinishReason.StopToken or FinishReason.MaxTokens)
        {
            text += _stops.Append(_decoder.Flush());
            text += _stops.Found is null ? _stops.Flush() : "";
        }

        Ended = reason != FinishReason.None;
        return new GeneratedToken(Number, sampled.Id, text, sampled.LogProbability, reason);
    }
}
