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

    /// <summary>Creates a generator.</summary>
    /// <param name="model">The model; belongs to the caller.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <exception cref="ArgumentException">The tokenizer has tokens that the model has not.</exception>
    public TextGenerator(MambaModel model, Tokenizer tokenizer)
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

            List<GeneratedSequence> active = [.. sequences];
            BackgroundStep step = new(_model, state);
            await step.RunAsync(active, prompt: true, cancellation).ConfigureAwait(false);
            while (true)
            {
                bool ended = false;
                for (int i = 0; i < active.Count; i++)
                {
                    GeneratedToken token = active[i].Take(step.Logits(i), state);
                    ended |= token.FinishReason != FinishReason.None;
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
}
