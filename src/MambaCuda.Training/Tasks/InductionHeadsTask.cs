using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// Induction heads (Mamba, section 4.1.2, appendix E.1; Olsson et al. 2022): among random tokens stands, once, a special token with some
/// token behind it; the last token of the sequence is the special one again, and the token that stood behind it the first time is the
/// answer. Loss only at the last token. The last id is the special one. The paper's model, trained at length 256, answers up to 2^20.
/// Samples never repeat.
/// </summary>
public sealed class InductionHeadsTask : BatchSource
{
    private const int ShortestLength = 3;

    private readonly int _batchSize;
    private readonly ulong _seed;

    /// <summary>Creates the task; what is left out is the paper's setting in training.</summary>
    /// <param name="seed">Decides all samples. Give evaluation another one than training.</param>
    /// <param name="batchSize">Sequences in a batch.</param>
    /// <param name="length">Tokens in a sequence, with both special ones; at least 3.</param>
    /// <param name="vocabularySize">All ids, with the special one; at least 2.</param>
    public InductionHeadsTask(ulong seed, int batchSize = 8, int length = 256, int vocabularySize = 16)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, ShortestLength);
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, 2);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)length * batchSize, Array.MaxLength, nameof(batchSize));
        _seed = seed;
        _batchSize = batchSize;
        Length = length;
        VocabularySize = vocabularySize;
    }

    /// <inheritdoc/>
    public override int VocabularySize { get; }

    /// <summary>Tokens in a sequence.</summary>
    public int Length { get; }

    /// <summary>The token whose follower is asked for.</summary>
    public int Special => VocabularySize - 1;

    /// <inheritdoc/>
    protected override TokenBatch Make(long index)
    {
        int[] tokens = new int[_batchSize * Length], targets = new int[_batchSize * Length];
        targets.AsSpan().Fill(TokenBatch.IgnoredTarget);
        for (int i = 0; i < _batchSize; i++)
        {
            SplitMix64 random = new(_seed, checked((ulong)((index * _batchSize) + i)));
            Span<int> sequence = tokens.AsSpan(i * Length, Length);
            foreach (ref int token in sequence)
            {
                token = (int)random.Below(Special);
            }

            int special = (int)random.Below(Length - 2);
            sequence[special] = sequence[^1] = Special;
            targets[((i + 1) * Length) - 1] = sequence[special + 1];
        }

        return new TokenBatch(tokens, targets, SequenceLayout.Uniform(_batchSize, Length));
    }
}
