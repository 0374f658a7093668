using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// Whole documents, each a sequence of its own length, packed one behind the other up to a number of tokens; nothing is padded. A document
/// that is longer is cut into consecutive pieces, each a sequence that begins anew. The last token of a document is only a target, so a
/// document of one token has nothing to be seen.
/// <para>
/// Documents are dealt to batches once, in an order that the seed decides; then each epoch takes the batches in another order. So a batch
/// is found from the number of its step, with 16 bytes kept for each batch of an epoch.
/// </para>
/// </summary>
public sealed class PackedBatches : BatchSource
{
    private readonly TokenSlice _tokens;
    private readonly int _budget;
    private readonly SampleOrder _documents;
    private readonly SampleOrder _batches;
    private readonly List<Place> _starts = [];

    /// <summary>Creates the source, looking at the length of every document once.</summary>
    /// <param name="tokens">The tokens; their file stays open as long as this is used.</param>
    /// <param name="tokenBudget">The most tokens in a batch.</param>
    /// <param name="seed">Decides the order of documents and batches; null leaves them as they lie, for validation.</param>
    /// <param name="sequenceLimit">The most sequences in a batch: each takes a recurrent state.</param>
    /// <exception cref="TokenFileException">No document has two tokens.</exception>
    public PackedBatches(TokenSlice tokens, int tokenBudget, ulong? seed, int sequenceLimit = int.MaxValue)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentOutOfRangeException.ThrowIfLessThan(tokenBudget, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tokenBudget, Array.MaxLength);
        ArgumentOutOfRangeException.ThrowIfLessThan(sequenceLimit, 1);
        _tokens = tokens;
        _budget = tokenBudget;
        _documents = new SampleOrder(Math.Max(1, tokens.DocumentCount), seed);
        Deal(sequenceLimit);
        if (_starts.Count == 0)
        {
            throw new TokenFileException(
                tokens.File.Path, $"none of its {tokens.DocumentCount} documents has a token that follows another", "Give more text");
        }

        _batches = new SampleOrder(_starts.Count, seed is { } s ? SplitMix64.Mix(~s) : null);
    }

    /// <inheritdoc/>
    public override int VocabularySize => _tokens.File.VocabularySize;

    /// <inheritdoc/>
    public override long? StepsPerEpoch => _starts.Count;

    /// <inheritdoc/>
    protected override TokenBatch Make(long index)
    {
        int batch = (int)_batches.At(index);
        Place end = batch + 1 < _starts.Count ? _starts[batch + 1] : new Place(_tokens.DocumentCount, 0);
        List<TokenRange> pieces = [];
        for (Place place = _starts[batch]; place != end;)
        {
            (TokenRange piece, place) = PieceAt(place);
            if (piece.Count > 0)
            {
                pieces.Add(piece);
            }
        }

        int[] lengths = [.. pieces.Select(piece => (int)piece.Count)];
        int[] tokens = new int[lengths.Sum()], targets = new int[tokens.Length];
        int row = 0;
        foreach (TokenRange piece in pieces)
        {
            int length = (int)piece.Count;
            _tokens.File.Read(piece.Start, tokens.AsSpan(row, length));
            _tokens.File.Read(piece.Start + 1, targets.AsSpan(row, length));
            row += length;
        }

        return new TokenBatch(tokens, targets, SequenceLayout.Packed(lengths));
    }

    /// <summary>Goes through all documents in their order and begins a batch where the next piece does not fit any more.</summary>
    private void Deal(int sequenceLimit)
    {
        long rows = 0;
        int sequences = 0;
        for (Place place = new(0, 0); place.Document < _tokens.DocumentCount;)
        {
            (TokenRange piece, Place next) = PieceAt(place);
            if (piece.Count > 0)
            {
                if (_starts.Count == 0 || rows + piece.Count > _budget || sequences == sequenceLimit)
                {
                    _starts.Add(place);
                    rows = sequences = 0;
                }

                rows += piece.Count;
                sequences++;
            }

            place = next;
        }
    }

    /// <summary>The tokens of the piece that begins at a place, without the last target, and the place behind it.</summary>
    private (TokenRange Piece, Place Next) PieceAt(Place place)
    {
        TokenRange document = _tokens.Document(_documents.At(place.Document));
        long left = document.Count - 1 - place.Token, length = Math.Clamp(left, 0, _budget);
        Place next = left > _budget ? place with { Token = place.Token + length } : new Place(place.Document + 1, 0);
        return (new TokenRange(document.Start + place.Token, length), next);
    }

    /// <summary>Where a piece begins: the document, counted in the order of <see cref="_documents"/>, and the token in it.</summary>
    private readonly record struct Place(long Document, long Token);
}
