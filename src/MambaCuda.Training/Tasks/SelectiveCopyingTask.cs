using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// Selective copying (Mamba, section 4.1.1, figure 2, appendix E.1): data tokens stand at random places among noise, and are to be repeated
/// in their order at the end, where marker tokens ask for them. Because the gaps are random, a model must choose by content what it keeps.
/// Loss only at the markers. Id 0 is noise, the last id the marker, those between are data; a sequence is
/// <see cref="Length"/> tokens of noise and data, then <see cref="DataTokens"/> markers. Samples never repeat.
/// </summary>
public sealed class SelectiveCopyingTask : BatchSource
{
    /// <summary>The id of noise.</summary>
    public const int Noise = 0;

    private readonly int _batchSize;
    private readonly ulong _seed;

    /// <summary>Creates the task; what is left out is the paper's setting.</summary>
    /// <param name="seed">Decides all samples. Give evaluation another one than training.</param>
    /// <param name="batchSize">Sequences in a batch.</param>
    /// <param name="length">Tokens of noise and data before the markers.</param>
    /// <param name="dataTokens">Tokens to be repeated.</param>
    /// <param name="vocabularySize">All ids, with noise and marker; at least 3.</param>
    public SelectiveCopyingTask(ulong seed, int batchSize = 64, int length = 4096, int dataTokens = 16, int vocabularySize = 16)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(dataTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, dataTokens);
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, 3);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(((long)length + dataTokens) * batchSize, Array.MaxLength, nameof(batchSize));
        _seed = seed;
        _batchSize = batchSize;
        Length = length;
        DataTokens = dataTokens;
        VocabularySize = vocabularySize;
    }

    /// <inheritdoc/>
    public override int VocabularySize { get; }

    /// <summary>Tokens of noise and data before the markers.</summary>
    public int Length { get; }

    /// <summary>Tokens to be repeated, and markers.</summary>
    public int DataTokens { get; }

    /// <summary>The id that asks for the next data token.</summary>
    public int Marker => VocabularySize - 1;

    /// <inheritdoc/>
    protected override TokenBatch Make(long index)
    {
        int rows = Length + DataTokens;
        int[] tokens = new int[_batchSize * rows], targets = new int[_batchSize * rows];
        targets.AsSpan().Fill(TokenBatch.IgnoredTarget);
        for (int i = 0; i < _batchSize; i++)
        {
            SplitMix64 random = new(_seed, checked((ulong)((index * _batchSize) + i)));
            Fill(ref random, tokens.AsSpan(i * rows, rows), targets.AsSpan((i * rows) + Length, DataTokens));
        }

        return new TokenBatch(tokens, targets, SequenceLayout.Uniform(_batchSize, rows));
    }

    private void Fill(ref SplitMix64 random, Span<int> tokens, Span<int> answers)
    {
        // Each place takes one of the data tokens that are left with the probability of their share in the places that are left, so every
        // choice of places is equally likely (Knuth, "The Art of Computer Programming" 2, 3.4.2, algorithm S).
        int placed = 0;
        for (int at = 0; placed < answers.Length; at++)
        {
            if (random.Below(Length - at) < answers.Length - placed)
            {
                tokens[at] = answers[placed++] = 1 + (int)random.Below(VocabularySize - 2);
            }
        }

        tokens[Length..].Fill(Marker);
    }
}
