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
    private readonly PromptCache? _cache;

    /// <summary>Creates a generator.</summary>
    /// <param name="model">The model; belongs to the caller.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="cache">
    /// Where texts that start anew look for what they begin with, and leave what they have run; belongs to the caller, who may serve several
    /// generators of the model with it. Left out, every prompt is run.
    /// </param>
    /// <exception cref="ArgumentException">The tokenizer has tokens that the model has not.</exception>
    public TextGenerator(MambaModel model, Tokenizer tokenizer, PromptCache? cache = null)
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

        _model = model;
        _tokenizer = tokenizer;
        _cache = cache;
    }

    /// <summary>Continues one text.</summary>
    /// <param name="request">What to generate.</param>
    /// <param name="cancellation">Stops between two tokens; the request's state then holds every token given so far.</param>
    /// <exception cref="ArgumentException">The request cannot be served: an empty prompt without a state, a token out of the vocabulary, a
    /// bad option.</exception>
    public IAsyncEnumerable<GeneratedToken> GenerateAsync(GenerationRequest request, CancellationToken cancellation = default) =>
        GenerateAsync([request], cancellation);

    /// <summary>Continues a batch of texts; tokens of one step come in the order of the requests.</summary>
    /// <param name="requests">What to generate.</param>
    /// <param name="cancellation">Stops between two tokens; the requests' states then hold every token given so far.</param>
    /// <exception cref="ArgumentException">As for a single request; the message names the request.</exception>
    public IAsyncEnumerable<GeneratedToken> GenerateAsync(
        IReadOnlyList<GenerationRequest> requests, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(requests);
        ArgumentOutOfRangeException.ThrowIfZero(requests.Count);
        GeneratedSequence[] sequences = [.. requests.Select((request, i) => new GeneratedSequence(i, request, _model, _tokenizer))];
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

            List<GeneratedSequence> active = await RunPromptsAsync(sequences, state, cancellation).ConfigureAwait(false);
            tokens = TokenSource.Of(state, active);
            while (active.Count > 0)
            {
                await tokens.NextAsync(active, cancellation).ConfigureAwait(false);
                bool ended = false;
                for (int i = 0; i < active.Count; i++)
                {
                    GeneratedToken token = active[i].Take(tokens.Token(active[i], i));
                    if (token.FinishReason != FinishReason.None)
                    {
                        ended = true;
                        Leave(active[i], i, tokens, copyState: !inPlace);
                    }

                    yield return token;
                }

                if (ended)
                {
                    active.RemoveAll(sequence => sequence.Ended);
                }
            }
        }
        finally
        {
            foreach (GeneratedSequence sequence in sequences.Where(sequence => !inPlace && !sequence.Ended))
            {
                if (sequence.Request.State is { } own)
                {
                    if (tokens is null)
                    {
                        state.CopySlot(sequence.Slot, own, 0);
                    }
                    else
                    {
                        tokens.CopyTo(sequence, own);
                    }
                }
            }

            tokens?.Dispose();
            if (!inPlace)
            {
                state.Dispose();
            }
        }
    }

    /// <summary>A text has ended: its state goes back to whoever asked for it, and to the cache.</summary>
    private void Leave(GeneratedSequence sequence, int place, TokenSource tokens, bool copyState)
    {
        if (copyState && sequence.Request.State is { } own)
        {
            tokens.CopyTo(sequence, own);
        }

        if (_cache is not null)
        {
            using MambaState copy = _model.CreateState();
            tokens.CopyTo(sequence, copy);
            Keep(sequence, copy, 0, tokens.LogitsOf(sequence, place));
        }
    }

    /// <summary>Runs what no cache has of the prompts, and keeps it; all sequences are active then.</summary>
    private async ValueTask<List<GeneratedSequence>> RunPromptsAsync(
        GeneratedSequence[] sequences, MambaState state, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (_cache is not null)
        {
            foreach (GeneratedSequence sequence in sequences.Where(sequence => sequence.StartsAnew))
            {
                sequence.Skip(_cache, state);
            }
        }

        // Not cancelled from here on: a state must not stop within a prompt.
        List<GeneratedSequence> prompts = [.. sequences.Where(sequence => sequence.Input.Length > 0)];
        BackgroundStep step = new(_model, state);
        if (prompts.Count > 0)
        {
            await step.RunAsync(prompts, prompt: true, CancellationToken.None).ConfigureAwait(false);
        }

        for (int i = 0; i < prompts.Count; i++)
        {
            prompts[i].FirstLogits = step.Logits(i).ToArray();
            Keep(prompts[i], state, prompts[i].Slot, prompts[i].FirstLogits);
        }

        return [.. sequences];
    }

    private void Keep(GeneratedSequence sequence, MambaState state, int slot, ReadOnlySpan<float> logits)
    {
        // A state that had tokens before the prompt has a past that the cache does not know.
        if (_cache is not null && sequence.TokensRun is var tokens && state.TokenCount(slot) == tokens.Length)
        {
            _cache.Store(tokens, state, slot, logits);
        }
    }
}
