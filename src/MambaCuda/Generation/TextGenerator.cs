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
        try
        {
            if (!inPlace)
            {
                foreach (GeneratedSequence sequence in sequences)
                {
                    sequence.Request.State?.CopySlot(0, state, sequence.Slot);
                }
            }

            BackgroundStep step = new(_model, state);
            List<GeneratedSequence> active = await RunPromptsAsync(sequences, step, state, cancellation).ConfigureAwait(false);
            for (bool first = true; ; first = false)
            {
                bool ended = false;
                for (int i = 0; i < active.Count; i++)
                {
                    ReadOnlySpan<float> logits = first ? active[i].FirstLogits : step.Logits(i);
                    GeneratedToken token = active[i].Take(logits, state);
                    if (token.FinishReason != FinishReason.None)
                    {
                        ended = true;
                        Keep(active[i], state, logits);
                    }

                    yield return token;
                }

                if (ended)
                {
                    active.RemoveAll(sequence => sequence.Ended);
                }

                if (active.Count == 0)
                {
                    break;
                }

                await step.RunAsync(active, prompt: false, cancellation).ConfigureAwait(false);
            }
        }
        finally
        {
            if (!inPlace)
            {
                foreach (GeneratedSequence sequence in sequences)
                {
                    if (sequence.Request.State is { } own)
                    {
                        state.CopySlot(sequence.Slot, own, 0);
                    }
                }

                state.Dispose();
            }
        }
    }

    /// <summary>Runs what no cache has of the prompts, and keeps it; all sequences are active then.</summary>
    private async ValueTask<List<GeneratedSequence>> RunPromptsAsync(
        GeneratedSequence[] sequences, BackgroundStep step, MambaState state, CancellationToken cancellation)
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
        if (prompts.Count > 0)
        {
            await step.RunAsync(prompts, prompt: true, CancellationToken.None).ConfigureAwait(false);
        }

        for (int i = 0; i < prompts.Count; i++)
        {
            prompts[i].FirstLogits = step.Logits(i).ToArray();
            Keep(prompts[i], state, prompts[i].FirstLogits);
        }

        return [.. sequences];
    }

    private void Keep(GeneratedSequence sequence, MambaState state, ReadOnlySpan<float> logits)
    {
        // A state that had tokens before the prompt has a past that the cache does not know.
        if (_cache is not null && sequence.TokensRun is var tokens && state.TokenCount(sequence.Slot) == tokens.Length)
        {
            _cache.Store(tokens, state, sequence.Slot, logits);
        }
    }
}
