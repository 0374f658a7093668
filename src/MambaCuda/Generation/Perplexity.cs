using System.Text;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>How well a model predicts a text.</summary>
/// <param name="NegativeLogLikelihood">The sum over all judged tokens of -ln(probability).</param>
/// <param name="TokenCount">The judged tokens: all but the first, which has nothing before it.</param>
/// <param name="ByteCount">The bytes of UTF-8 of the judged tokens.</param>
public sealed record Perplexity(double NegativeLogLikelihood, long TokenCount, long ByteCount)
{
    private const int ChunksAPiece = 8;

    /// <summary>e to the mean negative log-likelihood of a token.</summary>
    public double ByToken => Math.Exp(NegativeLogLikelihood / TokenCount);

    /// <summary>The mean negative log-likelihood of a byte in bits; comparable between tokenizers.</summary>
    public double BitsPerByte => NegativeLogLikelihood / Math.Log(2) / ByteCount;

    /// <summary>Judges a text from its start to its end with the state carried on, in bounded memory.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="text">The text, of at least two tokens.</param>
    /// <param name="cancellation">Stops between two pieces of the text.</param>
    /// <exception cref="ArgumentException">The text has fewer than two tokens.</exception>
    public static Perplexity Measure(MambaModel model, Tokenizer tokenizer, string text, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tokenizer);
        int[] ids = tokenizer.Encode(text);
        if (ids.Length < 2)
        {
            throw new ArgumentException($"The text has {ids.Length} tokens; at least two are needed.", nameof(text));
        }

        using MambaState state = model.CreateState();
        int pieceTokens = ChunksAPiece * model.ChunkTokens;
        float[] logProbabilities = new float[Math.Min(pieceTokens, ids.Length - 1)];
        double sum = 0;
        for (int start = 0; start < ids.Length - 1; start += pieceTokens)
        {
            cancellation.ThrowIfCancellationRequested();
            int count = Math.Min(pieceTokens, ids.Length - 1 - start);
            Span<float> piece = logProbabilities.AsSpan(0, count);
            model.Score(ids.AsSpan(start, count), ids.AsSpan(start + 1, count), SequenceLayout.Uniform(1, count), state, piece);
            foreach (float logProbability in piece)
            {
                sum -= logProbability;
            }
        }

        return new Perplexity(sum, ids.Length - 1, Encoding.UTF8.GetByteCount(text) - tokenizer.TokenBytes(ids[0]).Length);
    }
}
