namespace MambaCuda.Validation;

/// <summary>The sequences of a case: how long each is and where it keeps its state.</summary>
public sealed record PackedSequences(int[] Lengths, int[] Slots)
{
    /// <summary>
    /// Equal lengths in the order of their slots; or, packed, of different lengths up to <paramref name="length"/>, the slots in another
    /// order and slot 0 free.
    /// </summary>
    public static PackedSequences Of(int batch, int length, bool packed)
    {
        IEnumerable<int> sequences = Enumerable.Range(0, batch);
        return packed
            ? new([.. sequences.Select(i => i == 0 ? length : 1 + (i * 37 % length))], [.. sequences.Select(i => batch - i)])
            : new([.. sequences.Select(_ => length)], [.. sequences]);
    }
}
