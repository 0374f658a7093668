namespace MambaCuda.Kernels;

/// <summary>
/// Which rows of a packed batch belong to which sequence, and in which slot each sequence keeps its recurrent state.
/// Sequences lie one after the other with nothing between them, so no padding ever reaches a kernel. Immutable.
/// </summary>
public sealed class SequenceLayout
{
    private readonly long[] _starts;
    private readonly int[] _slots;
    private CheckpointTable? _checkpoints;

    private SequenceLayout(long[] starts, int[] slots)
    {
        _starts = starts;
        _slots = slots;
        for (int i = 0; i < slots.Length; i++)
        {
            MaxLength = Math.Max(MaxLength, starts[i + 1] - starts[i]);
            SlotCount = Math.Max(SlotCount, slots[i] + 1);
        }

        IsUniform = MaxLength * slots.Length == TotalLength && slots.AsSpan().SequenceEqual(DefaultSlots(slots.Length));
    }

    /// <summary>The number of sequences.</summary>
    public int Count => _slots.Length;

    /// <summary>The number of rows of all sequences.</summary>
    public long TotalLength => _starts[^1];

    /// <summary>The length of the longest sequence.</summary>
    public long MaxLength { get; }

    /// <summary>One more than the highest slot: the rows that a state must have.</summary>
    public int SlotCount { get; }

    /// <summary>Whether all sequences have one length, and sequence i has slot i.</summary>
    public bool IsUniform { get; }

    /// <summary>The first row of each sequence and, last, the number of rows (the field's cu_seqlens).</summary>
    public ReadOnlySpan<long> Starts => _starts;

    /// <summary>The state slot of each sequence.</summary>
    public ReadOnlySpan<int> Slots => _slots;

    /// <summary>Sequences of equal length.</summary>
    /// <param name="batch">The number of sequences.</param>
    /// <param name="length">The length of each.</param>
    public static SequenceLayout Uniform(int batch, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        long[] starts = new long[batch + 1];
        for (int i = 0; i <= batch; i++)
        {
            starts[i] = checked(i * length);
        }

        return new SequenceLayout(starts, DefaultSlots(batch));
    }

    /// <summary>Sequences of the given lengths, one after the other.</summary>
    /// <param name="lengths">The length of each sequence, at least 1.</param>
    /// <param name="slots">The state slot of each sequence, all different; left out, sequence i has slot i.</param>
    /// <exception cref="ArgumentException">A length is not positive, or a slot is negative, taken twice or the largest integer.</exception>
    public static SequenceLayout Packed(ReadOnlySpan<int> lengths, ReadOnlySpan<int> slots = default)
    {
        if (lengths.IsEmpty)
        {
            throw new ArgumentException("A layout needs at least one sequence.", nameof(lengths));
        }

        long[] starts = new long[lengths.Length + 1];
        for (int i = 0; i < lengths.Length; i++)
        {
            if (lengths[i] <= 0)
            {
                throw new ArgumentException($"Sequence {i} has length {lengths[i]}; a sequence has at least one token.", nameof(lengths));
            }

            starts[i + 1] = starts[i] + lengths[i];
        }

        return new SequenceLayout(starts, slots.IsEmpty ? DefaultSlots(lengths.Length) : CheckedSlots(slots, lengths.Length));
    }

    /// <summary>How many checkpoints a scan leaves that makes one before every <paramref name="steps"/>-th token of each sequence.</summary>
    public long CheckpointCount(int steps) => CheckpointStarts(steps)[^1];

    /// <summary>The first checkpoint of each sequence and, last, the number of them.</summary>
    internal ReadOnlySpan<long> CheckpointStarts(int steps)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(steps);

        // Two threads may both make the table; it is the same one.
        CheckpointTable table = _checkpoints is { } known && known.Steps == steps ? known : new CheckpointTable(steps, _starts);
        _checkpoints = table;
        return table.Starts;
    }

    private static int[] DefaultSlots(int count)
    {
        int[] slots = new int[count];
        for (int i = 0; i < count; i++)
        {
            slots[i] = i;
        }

        return slots;
    }

    private static int[] CheckedSlots(ReadOnlySpan<int> slots, int count)
    {
        if (slots.Length != count)
        {
            throw new ArgumentException($"{slots.Length} slots were given for {count} sequences.", nameof(slots));
        }

        HashSet<int> taken = [];
        foreach (int slot in slots)
        {
            // The number of slots is one more than the highest, and must be a number too.
            if (slot == int.MaxValue)
            {
                throw new ArgumentException($"State slot {slot} is too large.", nameof(slots));
            }

            if (slot < 0 || !taken.Add(slot))
            {
                throw new ArgumentException($"State slot {slot} is negative or taken twice.", nameof(slots));
            }
        }

        return slots.ToArray();
    }

    private sealed class CheckpointTable
    {
        public CheckpointTable(int steps, long[] starts)
        {
            Steps = steps;
            Starts = new long[starts.Length];
            for (int i = 1; i < starts.Length; i++)
            {
                Starts[i] = Starts[i - 1] + ((starts[i] - starts[i - 1] + steps - 1) / steps);
            }
        }

        public int Steps { get; }

        public long[] Starts { get; }
    }
}
