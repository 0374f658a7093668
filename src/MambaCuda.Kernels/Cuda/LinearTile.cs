namespace MambaCuda.Kernels;

/// <summary>How the tile of a block is computed; see native/kernels/linear_forward.cu.</summary>
internal enum LinearTileKind
{
    Mma,
    Wgmma,

    /// <summary>By wgmma, where there are few rows.</summary>
    Rows,
    Simt,
}

/// <summary>A tile of y that one block computes at a time.</summary>
/// <param name="Kind">By which kernel.</param>
/// <param name="Rows">Rows of y.</param>
/// <param name="Outputs">Columns of y.</param>
/// <param name="WarpRows">Rows of one warp's part.</param>
/// <param name="WarpOutputs">Columns of one warp's part.</param>
/// <param name="Stages">Staged steps.</param>
internal readonly record struct LinearTile(LinearTileKind Kind, int Rows, int Outputs, int WarpRows, int WarpOutputs, int Stages)
{
    /// <summary>Inputs of a step.</summary>
    public int StepInputs => Kind == LinearTileKind.Simt ? 16 : 64;

    /// <summary>Threads of a block.</summary>
    public int Threads => Kind switch
    {
        LinearTileKind.Mma => 32 * (Rows / WarpRows) * (Outputs / WarpOutputs),
        LinearTileKind.Rows => 2 * Rows,
        _ => 256,
    };

    /// <summary>Dynamic shared memory of a block.</summary>
    public int SharedBytes => Kind == LinearTileKind.Simt ? 0 : (Rows + Outputs) * StepInputs * 2 * Stages;

    /// <summary>Sums of a tile.</summary>
    public int Sums => Rows * Outputs;

    /// <summary>The number of tiles.</summary>
    public long Count(long rows, long outputs) => ((rows + Rows - 1) / Rows) * ((outputs + Outputs - 1) / Outputs);

    /// <summary>The number of steps of a tile.</summary>
    public int Steps(int inputs) => (inputs + StepInputs - 1) / StepInputs;

    /// <summary>As in "wgmma 128x256".</summary>
    public override string ToString() => $"{Kind.ToString().ToLowerInvariant()} {Rows}x{Outputs}";
}

/// <summary>
/// What a tile costs, in microseconds on an H200 (2026-11-25, bf16, 16384 x 768 x 3072 to 64 x 2560 x 10240, medians). Other cards differ
/// in all of these by about the same factor, which the choice between tiles does not see.
/// </summary>
/// <param name="Tile">The tile.</param>
/// <param name="Throughput">A step, where a multiprocessor has all the blocks that it holds.</param>
/// <param name="Latency">A step of a block that is alone.</param>
/// <param name="Finish">Filling the first stages and storing the tile.</param>
/// <param name="Resident">How many blocks a multiprocessor holds.</param>
internal readonly record struct LinearTileCost(LinearTile Tile, double Throughput, double Latency, double Finish, int Resident)
{
    // Leaving partial sums, and reading those of one split back.
    private const double SplitBase = 2;
    private const double SplitEach = 0.8;

    public static readonly LinearTileCost[] All =
    [
        new(new(LinearTileKind.Wgmma, 128, 256, 64, 256, Stages: 4), 0.88, 1.10, 3, Resident: 1),
        new(new(LinearTileKind.Wgmma, 128, 128, 64, 128, Stages: 6), 0.72, 0.75, 2, Resident: 1),
        new(new(LinearTileKind.Mma, 128, 128, 64, 64, Stages: 3), 0.80, 1.10, 3, Resident: 2),
        new(new(LinearTileKind.Mma, 64, 64, 32, 32, Stages: 4), 0.33, 0.48, 1, Resident: 3),
        new(new(LinearTileKind.Mma, 64, 64, 32, 32, Stages: 3), 0.36, 0.52, 1, Resident: 3),
        new(new(LinearTileKind.Mma, 32, 64, 32, 16, Stages: 4), 0.28, 0.38, 1, Resident: 4),
        new(new(LinearTileKind.Simt, 128, 128, 0, 0, Stages: 2), 2.03, 2.40, 2, Resident: 1),
        new(new(LinearTileKind.Simt, 64, 64, 0, 0, Stages: 2), 0.59, 0.80, 1, Resident: 4),
    ];

    /// <summary>The tiles of a kernel.</summary>
    public static IEnumerable<LinearTile> Tiles(LinearTileKind kind) => All.Where(cost => cost.Tile.Kind == kind).Select(cost => cost.Tile);

    /// <summary>An estimate of the time of a product, for comparison with that of other tiles.</summary>
    public double Time(long rows, int inputs, int outputs, int splits, int multiprocessors)
    {
        double work = Tile.Count(rows, outputs) * splits;
        double each = Math.Ceiling(work / multiprocessors);
        double rounds = Math.Ceiling(work / (multiprocessors * Resident));
        double steps = Math.Ceiling((double)Tile.Steps(inputs) / splits);
        double split = splits == 1 ? 0 : SplitBase + (SplitEach * splits);
        return (steps * Math.Max(each * Throughput, rounds * Latency)) + (rounds * Finish) + split;
    }
}
