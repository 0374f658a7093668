using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Cuts the tokens of packed sequences into chunks of bounded length. A sequence that is cut goes on from its state in the next chunk.
/// An input that fits is passed on as it is, without an allocation.
/// </summary>
internal struct ForwardChunks
{
    private readonly SequenceLayout _sequences;
    private readonly int _maximum;
    private int _end;

    public ForwardChunks(SequenceLayout sequences, int maximum)
    {
        _sequences = sequences;
        _maximum = maximum;
        Layout = sequences;
    }

    /// <summary>The chunk's first token.</summary>
    public int Start { get; private set; }

    /// <summary>The chunk's number of tokens.</summary>
    public readonly int Length => _end - Start;

    /// <summary>The chunk's sequences, or parts of them.</summary>
    public SequenceLayout Layout { get; private set; }

    /// <summary>The number of the chunk's first sequence.</summary>
    public int FirstSequence { get; private set; }

    /// <summary>How many sequences have their last token in the chunk; the others have theirs later.</summary>
    public int EndingCount { get; private set; }

    public bool MoveNext()
    {
        ReadOnlySpan<long> starts = _sequences.Starts;
        int total = checked((int)_sequences.TotalLength);
        if (_end == total)
        {
            return false;
        }

        FirstSequence += EndingCount;
        Start = _end;
        _end = Math.Min(total, Start + _maximum);
        int sequence = FirstSequence;
        while (sequence < _sequences.Count && starts[sequence + 1] <= _end)
        {
            sequence++;
        }

        EndingCount = sequence - FirstSequence;
        if (Start == 0 && _end == total)
        {
            return true;
        }

        int count = EndingCount + (sequence < _sequences.Count && starts[sequence] < _end ? 1 : 0);
        int[] lengths = new int[count];
        for (int i = 0; i < count; i++)
        {
            long from = Math.Max(starts[FirstSequence + i], Start);
            lengths[i] = (int)(Math.Min(starts[FirstSequence + i + 1], _end) - from);
        }

        Layout = SequenceLayout.Packed(lengths, _sequences.Slots.Slice(FirstSequence, count));
        return true;
    }
}
