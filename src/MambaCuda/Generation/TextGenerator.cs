using System.Runtime.CompilerServices;

namespace MambaCuda;

/// <summary>
/// Continues texts, one or a batch of them at once. Prompts of different lengths are packed, so none is padded; a text that ends leaves
/// the batch. Serves one generation at a time, as the model does.
/// </summary>
public sealed class TextGenerator
{
    private readonly MambaModel _model;
    private readonly Tokenizer _tokenizer;
    private readonly TextGeneratorOptions _options;

    /// <summary>Creates a generator.</summary>
    /// <param name="model">The model; belongs to the caller.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="options">A prompt cache, a draft, the size of pieces; left out, the defaults.</param>
    /// <exception cref="ArgumentException">The tokenizer has tokens that the model has not, or a draft does not fit the model.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public TextGenerator(MambaModel model, Tokenizer tokenizer, TextGeneratorOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (tokenizer.VocabularySize > model.Config.VocabularySize)
        {
            throw new ArgumentException(
                $"The tokenizer has {tokenizer.VocabularySize} tokens, but the model only {model.Config.VocabularySize}: "
                + "they do not belong together.",
                nameof(tokenizer));
        }

        _options = options ?? new TextGeneratorOptions();
        _options.Validate(model);
        _model = model;
        _tokenizer = tokenizer;
    }

    /// <summary>How well the draft has guessed in all texts so far; zeros without one.</summary>
    public DraftCounts DraftCounts { get; private set; }

    /// <summary>Continues one text.</summary>
    /// <param name="request">What to generate.</param>
    /// <param name="cancellation">
    /// Stops between two tokens, or two pieces of the prompt; see <see cref="GenerationRequest.State"/> for where the state then is.
    /// </param>
    /// <exception cref="ArgumentException">The request cannot be served: an empty prompt without a state, a token out of the vocabulary, a
    /// bad option.</exception>
    public IAsyncEnumerable<GeneratedToken> GenerateAsync(GenerationRequest request, CancellationToken cancellation = default) =>
        GenerateAsync([request], cancellation);

    /// <summary>
    /// Continues a batch of texts; tokens of one step come in the order of the requests. A text begins when its prompt has been run, the shortest
    /// first; those that have begun get a token after each piece of a longer one.
    /// </summary>
    /// <param name="requests">What to generate; a single one where there is a draft.</param>
    /// <param name="cancellation">As for a single request.</param>
    /// <exception cref="ArgumentException">As for a single request; the message names the request.</exception>
    public IAsyncEnumerable<GeneratedToken> GenerateAsync(
        IReadOnlyList<GenerationRequest> requests, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(requests);
        ArgumentOutOfRangeException.ThrowIfZero(requests.Count);
        if (_options.Draft is not null && requests.Count > 1)
        {
            throw new ArgumentException(
                $"A draft serves one text at a time, but {requests.Count} were asked for; a batch reads the weights once for all of it as it is. "
                + "Give the requests one after the other, or to a generator without a draft.",
                nameof(requests));
        }

        GeneratedSequence[] sequences = [.. requests.Select((request, i) => new GeneratedSequence(i, request, _model, _tokenizer, _options.Draft))];
        return Generate(sequences, cancellation);
    }

    private async IAsyncEnumerable<GeneratedToken> Generate(
        GeneratedSequence[] sequences, [EnumeratorCancellation] CancellationToken cancellation)
    {
        // A single text runs on its own state in place; a batch needs its states side by side, and each copied back.
        bool inPlace = sequences.Length == 1 && sequences[0].Request.State is not null;
        MambaState state = inPlace ? sequences[0].Request.State! : _model.CreateState(sequences.Length);
        TokenSource? tokens = null;
        try
        {
            if (!inPlace)
            {
                foreach (GeneratedSequence sequence in sequences)
                {
                    sequence.Request.State?.CopySlot(0, state, sequence.Slot);
                }
            }

            PromptRun prompts = Prompts(sequences, state, cancellation);
            List<GeneratedSequence> active = [];
            while (prompts.IsWaiting || active.Count > 0)
            {
                if (prompts.IsWaiting)
                {
                    List<GeneratedSequence> begun = await prompts.NextAsync(active.Count > 0, cancellation).ConfigureAwait(false);
                    begun.ForEach(sequence => Keep(
                        sequence, sequence.PromptIds, sequence.FirstLogits, kept => state.CopySlot(sequence.Slot, kept, 0)));
                    foreach (GeneratedSequence sequence in begun)
                    {
                        GeneratedToken token = sequence.Take(sequence.Sampler.Sample(sequence.FirstLogits));
                        state.SetPendingTokens([token.Id], sequence.Slot);
                        yield return token;
                    }

                    begun.RemoveAll(sequence => sequence.Ended);
                    if (begun.Count > 0)
                    {
                        active = [.. active.Concat(begun).OrderBy(sequence => sequence.Number)];
                        tokens ??= Tokens(state, active);
                        tokens.Join(active);
                    }
                }

                if (active.Count > 0)
                {
                    await tokens!.NextAsync(active, cancellation).ConfigureAwait(false);
                }

                for (int i = 0; i < active.Count; i++)
                {
                    GeneratedSequence sequence = active[i];
                    GeneratedToken token = sequence.Take(tokens!.Token(sequence, i));
                    if (sequence.Ended)
                    {
                        Leave(sequence, i, tokens, copyState: !inPlace);
                    }

                    yield return token;
                }

                active.RemoveAll(sequence => sequence.Ended);
            }
        }
        finally
        {
            // Those that ended in the source have their states back.
            foreach (GeneratedSequence sequence in sequences.Where(sequence => !inPlace && !(sequence.Ended && sequence.HasJoined)))
            {
                if (sequence.Request.State is { } own)
                {
                    if (sequence.HasJoined)
                    {
                        tokens!.CopyTo(sequence, own);
                    }
                    else
                    {
                        state.CopySlot(sequence.Slot, own, 0);
                    }
                }
            }

            if (tokens is null)
            {
                Array.ForEach(sequences, sequence => sequence.LeaveDraft());
            }

            tokens?.Dispose();
            if (!inPlace)
            {
                state.Dispose();
            }
        }
    }

    private TokenSource Tokens(MambaState state, List<GeneratedSequence> active) => _options.Draft is null
        ? TokenSource.Of(state)
        : new SpeculativeTokens(state, active[0], _options, Count);

    private void Count(DraftCounts pass) => DraftCounts = new DraftCounts(
        DraftCounts.Passes + pass.Passes, DraftCounts.Proposed + pass.Proposed, DraftCounts.Accepted + pass.Accepted);

    /// <summary>A text has ended: its state goes back to whoever asked for it, and to the cache.</summary>
    private void Leave(GeneratedSequence sequence, int place, TokenSource tokens, bool copyState)
    {
        if (copyState && sequence.Request.State is { } own)
        {
            tokens.CopyTo(sequence, own);
        }

        if (_options.Cache is not null)
        {
            Keep(sequence, sequence.TokensRun, tokens.LogitsOf(sequence, place), kept => tokens.CopyTo(sequence, kept));
        }
    }

    /// <summary>What no cache has of the prompts.</summary>
    private PromptRun Prompts(GeneratedSequence[] sequences, MambaState state, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (_options.Cache is { } cache)
        {
            foreach (GeneratedSequence sequence in sequences.Where(sequence => sequence.StartsAnew))
            {
                sequence.Skip(cache, state);
            }
        }

        return new PromptRun(state, sequences, _options.PromptChunkTokens);
    }

    private void Keep(GeneratedSequence sequence, int[] tokens, ReadOnlySpan<float> logits, Action<MambaState> copyTo)
    {
        // A state that had tokens before the prompt has a past that the cache does not know.
        if (sequence.StartsAnew)
        {
            _options.Cache?.Store(tokens, logits, copyTo);
        }
    }
}
