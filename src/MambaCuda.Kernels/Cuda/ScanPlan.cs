namespace MambaCuda.Kernels;

/// <summary>How a block of the selective scan is cut, as ScanShape in selective_scan_forward.cu.</summary>
/// <param name="States">The state size.</param>
/// <param name="Lanes">Lanes that share the states of a channel.</param>
/// <param name="Channels">Channels of a block.</param>
/// <param name="Steps">Time steps of a tile.</param>
/// <param name="WorkerWarps">Warps that load, convert, gate and store.</param>
/// <param name="Piece">Channels that such a thread takes at once.</param>
internal readonly record struct ScanShape(int States, int Lanes, int Channels, int Steps, int WorkerWarps, int Piece)
{
    /// <summary>The C++ type.</summary>
    public string Expression => $"mamba::ScanShape<{States}, {Lanes}, {Channels}, {Steps}, {WorkerWarps}, {Piece}>";

    /// <summary>Threads of a block.</summary>
    public int Threads => (Channels * Lanes) + (32 * WorkerWarps);

    /// <summary>Shared memory of a block in bytes: two stages of inputs, B and C, and sums, with the paddings of the kernel.</summary>
    public int SharedBytes
    {
        get
        {
            int inputs = (Channels * ((2 * Steps) + 4)) + (Channels / Piece * 8);
            int matrices = Steps * ((2 * States) + 4);
            int sums = Steps * (Channels + 4);
            return 2 * (inputs + matrices + sums) * sizeof(float);
        }
    }
}

/// <summary>
/// Which kernel a scan takes: the tuning table, from the measurements in bench/results. Few channels a multiprocessor need many lanes a
/// channel, so that there are threads at all; many channels are served best by few lanes, which need fewer sums over lanes; where even many
/// lanes do not fill the card, a long sequence is cut into chunks.
/// </summary>
/// <param name="Shape">How a block is cut.</param>
/// <param name="Chunks">Chunks of every sequence; 1 for a scan in one piece.</param>
/// <param name="ChunkLength">Steps of a chunk.</param>
internal readonly record struct ScanPlan(ScanShape Shape, int Chunks, long ChunkLength)
{
    // Below this length a second pass costs more than idle multiprocessors.
    private const int ShortestChunked = 4096;
    private const int ShortestChunk = 512;

    /// <summary>Channels of the whole launch a multiprocessor from which one piece is faster.</summary>
    private const int MostChunkedChannels = 10;

    /// <summary>Blocks of a multiprocessor that chunks are to make.</summary>
    private const int ChunkedBlocks = 4;

    /// <summary>
    /// State size; channels of the whole launch a multiprocessor up to which the shape is taken; the shape. The last of a state size fits every
    /// card (64 KB).
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

    /// <summary>The plan for a scan; null where no shape is for the state size.</summary>
    /// <param name="states">The state size.</param>
    /// <param name="sequences">The sequences.</param>
    /// <param name="groupChannels">Channels that share B and C.</param>
    /// <param name="groups">Groups of channels.</param>
    /// <param name="multiprocessors">Of the card.</param>
    /// <param name="sharedBytes">The shared memory that a block may have on the card.</param>
    /// <param name="batchInvariant">Whether the plan must not depend on anything but the state size.</param>
    public static ScanPlan? For(
        int states, SequenceLayout sequences, int groupChannels, int groups, int multiprocessors, int sharedBytes, bool batchInvariant)
    {
        if (batchInvariant)
        {
            return Last(states) is { } only ? new ScanPlan(only, 1, sequences.MaxLength) : null;
        }

        double channels = (double)groupChannels * groups * sequences.Count / multiprocessors;
        foreach ((int of, int most, ScanShape shape) in Table)
        {
            if (of == states && channels <= most && shape.SharedBytes <= sharedBytes)
            {
                return channels <= MostChunkedChannels && sequences.MaxLength >= ShortestChunked
                    ? InChunks(Last(states)!.Value, channels, sequences)
                    : new ScanPlan(shape, 1, sequences.MaxLength);
            }
        }

        return null;
    }

    // Chunks make as many blocks as many channels would, so the shape for many is the right one.
    private static ScanPlan InChunks(ScanShape shape, double channels, SequenceLayout sequences)
    {
        long most = sequences.MaxLength / ShortestChunk;
        long chunks = Math.Clamp((long)Math.Ceiling(ChunkedBlocks * shape.Channels / channels), 2, Math.Min(most, ushort.MaxValue));
        long length = (sequences.MaxLength + chunks - 1) / chunks;
        length = (length + shape.Steps - 1) / shape.Steps * shape.Steps;
        return new ScanPlan(shape, (int)((sequences.MaxLength + length - 1) / length), length);
    }

    private static ScanShape? Last(int states)
    {
        ScanShape? last = null;
        foreach ((int of, _, ScanShape shape) in Table)
        {
            last = of == states ? shape : last;
        }

        return last;
    }
}
