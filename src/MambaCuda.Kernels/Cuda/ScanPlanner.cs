namespace MambaCuda.Kernels;

/// <summary>
/// Chooses how a scan is cut: the tuning table, from measurements on an H200 (2026-11-25, bf16, the shapes of bench/results). Few channels a
/// multiprocessor need many lanes a channel, so that there are threads at all; many channels are served best by few lanes, which need fewer
/// sums over lanes; where even many lanes do not fill the card, a long sequence is cut into chunks.
/// </summary>
internal readonly struct ScanPlanner
{
    // Below this length a second pass costs more than idle multiprocessors.
    private const int ShortestChunked = 4096;
    private const int ShortestChunk = 512;

    /// <summary>Channels of the whole launch a multiprocessor from which one piece is faster.</summary>
    private const int MostChunkedChannels = 12;

    /// <summary>
    /// Blocks of a multiprocessor that chunks are to make: whole rounds of the two that it runs of the results' pass and the three of the
    /// end states'; twice as many where chunks are then still as long as <see cref="LongChunk"/>.
    /// </summary>
    private const int ChunkedBlocks = 6;
    private const int LongChunk = 8192;

    /// <summary>
    /// State size; channels of the whole launch a multiprocessor up to which the shape is taken; the shape. The last of a state size is for
    /// many channels, and fits every card (64 KB of shared memory).
    /// </summary>
    private static readonly (int States, int MostChannels, ScanShape Shape)[] Table =
    [
        (4, 32, new(4, 4, 16, 64, 2, 8)),
        (4, int.MaxValue, new(4, 1, 128, 16, 4, 8)),
        (8, 32, new(8, 8, 16, 64, 4, 8)),
        (8, int.MaxValue, new(8, 1, 128, 16, 4, 8)),
        (16, 12, new(16, 16, 12, 128, 6, 4)),
        (16, 24, new(16, 16, 16, 128, 8, 4)),
        (16, 64, new(16, 4, 16, 32, 2, 8)),
        (16, 110, new(16, 4, 32, 64, 4, 8)),
        (16, int.MaxValue, new(16, 2, 64, 32, 4, 8)),
        (32, 32, new(32, 16, 16, 32, 2, 8)),
        (32, int.MaxValue, new(32, 4, 32, 32, 4, 8)),
        (64, 32, new(64, 16, 16, 32, 2, 8)),
        (64, int.MaxValue, new(64, 8, 16, 32, 2, 8)),
    ];

    /// <summary>All shapes that a plan can have.</summary>
    public static IEnumerable<ScanShape> Shapes => Table.Select(row => row.Shape);

    /// <summary>The card's multiprocessors.</summary>
    public required int Multiprocessors { get; init; }

    /// <summary>The shared memory that a block may have on the card.</summary>
    public required int SharedBytes { get; init; }

    /// <summary>Whether all rows start at multiples of 16 bytes.</summary>
    public required bool Aligned { get; init; }

    /// <summary>Whether the plan must not depend on how many sequences there are, nor on their lengths.</summary>
    public required bool BatchInvariant { get; init; }

    /// <summary>Whether a shape is the one for many channels, which also takes chunks and rows that are not aligned.</summary>
    public static bool IsForMany(ScanShape shape) => shape == ForMany(shape.States);

    /// <summary>The plan for a scan; null where no shape is for the state size.</summary>
    /// <param name="states">The state size.</param>
    /// <param name="sequences">The sequences.</param>
    /// <param name="groupChannels">Channels that share B and C.</param>
    /// <param name="groups">Groups of channels.</param>
    public ScanPlan? Plan(int states, SequenceLayout sequences, int groupChannels, int groups)
    {
        if (ForMany(states) is not ScanShape many)
        {
            return null;
        }

        double channels = (double)groupChannels * groups * sequences.Count / Multiprocessors;
        if (!BatchInvariant && channels <= MostChunkedChannels && sequences.MaxLength >= ShortestChunked)
        {
            return InChunks(many, sequences, groupChannels, groups);
        }

        ScanShape chosen = many;
        foreach ((int of, int most, ScanShape shape) in Table)
        {
            if (!BatchInvariant && of == states && channels <= most && shape.SharedBytes <= SharedBytes && IsAligned(shape, groupChannels))
            {
                chosen = shape;
                break;
            }
        }

        return new ScanPlan(chosen, IsAligned(chosen, groupChannels), 1, sequences.MaxLength);
    }

    // Chunks make as many blocks as many channels would, so the shape for many is the right one.
    private ScanPlan InChunks(ScanShape shape, SequenceLayout sequences, int groupChannels, int groups)
    {
        long blocks = (long)CudaBackend.DivideUp(groupChannels, shape.Channels) * groups * sequences.Count;
        long fitting = ChunkedBlocks * Multiprocessors / blocks;
        fitting = sequences.MaxLength / LongChunk >= 2 * fitting ? 2 * fitting : fitting;
        long chunks = Math.Clamp(fitting, 2, Math.Min(sequences.MaxLength / ShortestChunk, ushort.MaxValue));
        long length = CudaBackend.DivideUp(CudaBackend.DivideUp(sequences.MaxLength, chunks), shape.Steps) * shape.Steps;
        return new ScanPlan(shape, IsAligned(shape, groupChannels), (int)CudaBackend.DivideUp(sequences.MaxLength, length), length);
    }

    private bool IsAligned(ScanShape shape, int groupChannels) => Aligned && groupChannels % shape.Piece == 0;

    private static ScanShape? ForMany(int states)
    {
        ScanShape? last = null;
        foreach ((int of, _, ScanShape shape) in Table)
        {
            last = of == states ? shape : last;
        }

        return last;
    }
}
