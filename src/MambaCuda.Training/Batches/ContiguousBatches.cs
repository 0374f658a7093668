using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// Sequences of one length, cut from the stream of all tokens one behind the other without regard to documents; the token behind a sequence
/// is the target of its last. This is how the paper trains language models (appendix E.2). What is left at the end of the stream, less than
/// one length, is not seen.
/// </summary>
public sealed class ContiguousBatches : BatchSource
{
    private readonly TokenSlice _tokens;
    private readonly int _batchSize;
    private readonly int _length;
    private readonly bool _shuffled;
    private readonly SampleOrder _order;

    /// <summary>Creates the source.</summary>
    /// <param name="tokens">The tokens; their file stays open as long as this is used.</param>
    /// <param name="batchSize">Sequences in a batch.</param>
    /// <param name="length">Tokens in a sequence.</param>
    /// <param name="seed">
    /// Decides the order, another in each epoch; batches reach over the end of an epoch, so all have one size. With null the sequences come
    /// as they lie, for validation; then the last batch of an epoch holds what is left.
    /// </param>
    /// <exception cref="TokenFileException">There are not enough tokens for one sequence.</exception>
    public ContiguousBatches(TokenSlice tokens, int batchSize, int length, ulong? seed)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)batchSize * length, Array.MaxLength, nameof(batchSize));
        long count = (tokens.TokenCount - 1) / length;
        if (count < 1)
        {
            throw new TokenFileException(
                tokens.File.Path,
                $"{tokens.TokenCount} tokens are fewer than the {length + 1L} that a sequence of {length} and its last target take",
                "Choose a shorter length, or give more text");
        }

        _tokens = tokens;
        _batchSize = batchSize;
        _length = length;
        _shuffled = seed is not null;
        _order = new SampleOrder(count, seed);
    }

    /// <inheritdoc/>
    public override int VocabularySize => _tokens.File.VocabularySize;

    /// <summary>The number of different sequences.</summary>
    public long SampleCount => _order.Count;

    /// <inheritdoc/>
    public override long? StepsPerEpoch => ((_order.Count - 1) / _batchSize) + 1;

    /// <inheritdoc/>
    protected override TokenBatch Make(long index)
    {
        long first = _shuffled ? checked(index * _batchSize) : index % StepsPerEpoch!.Value * _batchSize;
        int rows = _shuffled ? _batchSize : (int)Math.Min(_batchSize, _order.Count - first);
        int[] tokens = new int[rows * _length], targets = new int[rows * _length];
        for (int row = 0; row < rows; row++)
        {
            long start = _tokens.Start + (_order.At(checked(first + row)) * _length);
            _tokens.File.Read(start, tokens.AsSpan(row * _length, _length));
            _tokens.File.Read(start + 1, targets.AsSpan(row * _length, _length));
        }

        return new TokenBatch(tokens, targets, SequenceLayout.Uniform(rows, _length));
    }
}
