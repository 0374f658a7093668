namespace MambaCuda.Training;

/// <summary>
/// Several sources, mixed batch by batch in fixed shares: of every block of as many steps as the weights add up to, each source gives
/// exactly its weight, in an order that the seed decides anew for each block.
/// </summary>
public sealed class MixedBatches : BatchSource
{
    private readonly (BatchSource Source, int Weight)[] _parts;
    private readonly SampleOrder _order;

    /// <summary>Creates the mixture.</summary>
    /// <param name="seed">Decides the order within blocks.</param>
    /// <param name="parts">The sources and their whole-number weights, at least 1; 3 and 1 give three quarters and a quarter.</param>
    public MixedBatches(ulong seed, params ReadOnlySpan<(BatchSource Source, int Weight)> parts)
    {
        if (parts.IsEmpty)
        {
            throw new ArgumentException("A mixture needs at least one source.", nameof(parts));
        }

        long total = 0;
        foreach ((BatchSource source, int weight) in parts)
        {
            ArgumentNullException.ThrowIfNull(source, nameof(parts));
            ArgumentOutOfRangeException.ThrowIfLessThan(weight, 1, nameof(parts));
            total += weight;
            VocabularySize = Math.Max(VocabularySize, source.VocabularySize);
        }

        _parts = parts.ToArray();
        _order = new SampleOrder(total, seed);
    }

    /// <inheritdoc/>
    public override int VocabularySize { get; }

    /// <inheritdoc/>
    protected override TokenBatch Make(long index)
    {
        long block = index / _order.Count, slot = _order.At(index);
        int part = 0;
        for (; slot >= _parts[part].Weight; part++)
        {
            slot -= _parts[part].Weight;
        }

        return _parts[part].Source.Batch((block * _parts[part].Weight) + slot);
    }
}
