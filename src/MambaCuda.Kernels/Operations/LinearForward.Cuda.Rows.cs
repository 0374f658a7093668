using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <summary>Above, cuBLASLt's kernels read no more of the weight, and multiply faster.</summary>
    private const int RowTilesMostRows = 128;

    /// <summary>Below, the weight is read as fast by linear_vector.cu.</summary>
    private const int RowTilesLeastRows = 5;

    private static readonly LinearTile[] RowTiles =
    [
        new(LinearTileKind.Rows, 64, 128, 64, 128, Stages: 4),
        new(LinearTileKind.Rows, 64, 64, 64, 64, Stages: 6),
        new(LinearTileKind.Rows, 128, 128, 64, 128, Stages: 6),
        new(LinearTileKind.Rows, 128, 64, 64, 64, Stages: 8),
    ];

    private static readonly KernelFamily<LinearTileVariant> LinearRowsKernels = new(
        "linear_forward.cu",
        variant => $"mamba::linear_forward_rows<{TypeName(variant.X)}, {TypeName(variant.Y)}, "
            + $"{variant.Tile.Rows}, {variant.Tile.Outputs}, {variant.Tile.Stages}>",
        LinearTileVariant.Of(RowTiles),
        suffix: "a",
        inSteps: true);

    /// <summary>The variants of the kernel for few rows that can be used.</summary>
    private IEnumerable<LinearVariant> RowTileVariants(LinearForwardArgs args) =>
        from tile in RowTiles
        where TakesRowTiles(args) && tile.Rows == RowTileRows(args.X.Rows)
        from splits in Enumerable.Range(1, RowTileMostSplits(tile, args.X.Columns))
        select new LinearVariant(LinearAlgorithm.TensorCore, tile, splits);

    /// <summary>How a layer over few rows is cut so that memory has least to do, or null where this kernel is not to be used.</summary>
    private LinearVariant? ChooseRowTiles(in LinearForwardArgs args)
    {
        if (args.X.Rows < RowTilesLeastRows || !TakesRowTiles(args))
        {
            return null;
        }

        // In bytes that a multiprocessor reads meanwhile: filling the first stages, and adding up the splits.
        const int Fill = 48 << 10, Add = 34 << 10;
        int multiprocessors = Context.Device.MultiprocessorCount;
        LinearVariant best = default;
        long least = long.MaxValue;
        foreach (LinearTile tile in RowTiles)
        {
            for (int splits = 1; tile.Rows == RowTileRows(args.X.Rows) && splits <= RowTileMostSplits(tile, args.X.Columns); splits++)
            {
                long blocks = tile.Count(args.X.Rows, args.Weight.Rows) * splits;
                long each = (blocks + multiprocessors - 1) / multiprocessors;

                // x comes from the second-level cache, at twice the speed.
                long bytes = DivideUp(tile.Steps(args.X.Columns), splits) * (tile.Outputs + (Math.Min(args.X.Rows, tile.Rows) / 2)) * tile.StepInputs * 2;
                long cost = (each * bytes) + (DivideUp((int)each, RowTileResident(tile)) * Fill) + (splits > 1 ? Add : 0);
                if (cost < least)
                {
                    (best, least) = (new LinearVariant(LinearAlgorithm.TensorCore, tile, splits), cost);
                }
            }
        }

        return best;
    }

    private bool TakesRowTiles(in LinearForwardArgs args) =>
        args.X.Rows <= RowTilesMostRows && HaveTensorCores(args) && HaveWgmma && AreAligned(16, args.X, args.Weight.Matrix)
        && RowTiles[^1].SharedBytes <= _library.MaxSharedBytes;

    private static int RowTileRows(long rows) => rows <= 64 ? 64 : 128;

    /// <summary>Blocks that a multiprocessor holds: those of fewer rows leave room for another.</summary>
    private static int RowTileResident(LinearTile tile) => tile.Rows == 64 ? 2 : 1;

    private int RowTileMostSplits(LinearTile tile, int inputs) =>
        Context.Device.HasClusterLaunch ? Math.Clamp(tile.Steps(inputs), 1, MixerRowsCluster) : 1;

    private void RunRowTiles(in LinearForwardArgs args, LinearTile tile, int splits)
    {
        LinearTileVariant variant = new(tile, args.X.Type, args.Weight.Matrix.Type, args.Y.Type, Aligned: true);
        Dim3 grid = new(DivideUp((int)args.Weight.Rows, tile.Outputs) * splits, DivideUp((int)args.X.Rows, tile.Rows));
        Launch(LinearRowsKernels.Get(_library, variant), grid, tile.Threads, new LinearForwardParams
        {
            X = Address(args.X),
            Weight = Address(args.Weight.Matrix),
            Bias = Address(args.Bias),
            Y = Address(args.Y),
            Rows = args.X.Rows,
            XStride = args.X.RowStride,
            WeightStride = args.Weight.Matrix.RowStride,
            YStride = args.Y.RowStride,
            Inputs = args.X.Columns,
            Outputs = checked((int)args.Weight.Rows),
            Splits = splits,
        }, tile.SharedBytes, splits, overlaps: args.WeightIsAtRest, cluster: splits);
    }
}
