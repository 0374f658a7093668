using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int RowTilesLeastRows = 5;

    /// <summary>Above, cuBLASLt's kernels read no more of the weight, and multiply faster.</summary>
    private const int RowTilesMostRows = 128;

    /// <summary>Up to here, the kernels of linear_vector.cu start and end sooner: they win where the weight is small.</summary>
    private const int RowTilesVectorRows = 16;
    private const long RowTilesLeastWeights = 8 << 20;

    /// <summary>Steps of 64 inputs that a block has at least: adding up more splits takes longer than they save.</summary>
    private const int RowTileLeastSteps = 4;

    /// <summary>
    /// Blocks of clusters, of a hundred that there is room for: a cluster stays within a part of the card, and those that find no room run
    /// when all others have ended.
    /// </summary>
    private const int RowTileMostBlocks = 76;

    // The first twice on a multiprocessor, the others once with more stages on their way.
    private static readonly LinearTile PairedRowTile = new(LinearTileKind.Rows, 64, 64, 64, 64, Stages: 7);
    private static readonly LinearTile LoneRowTile = new(LinearTileKind.Rows, 64, 64, 64, 64, Stages: 12);
    private static readonly LinearTile WideRowTile = new(LinearTileKind.Rows, 64, 128, 64, 128, Stages: 8);
    private static readonly LinearTile HighRowTile = new(LinearTileKind.Rows, 128, 64, 64, 64, Stages: 8);
    private static readonly LinearTile LargeRowTile = new(LinearTileKind.Rows, 128, 128, 64, 128, Stages: 6);
    private static readonly LinearTile[] RowTiles = [PairedRowTile, LoneRowTile, WideRowTile, HighRowTile, LargeRowTile];

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
        from splits in new[] { 1, 3, RowTileMostSplits(tile, args.X.Columns) }.Distinct()
        where splits <= RowTileMostSplits(tile, args.X.Columns)
        select new LinearVariant(LinearAlgorithm.TensorCore, tile, splits);

    /// <summary>
    /// How a layer over few rows is cut, or null where this kernel is not to be used: as was best or near it on an H200, inside a step of each
    /// size of model (2026-11-29, bf16, 8 to 128 rows).
    /// </summary>
    private LinearVariant? ChooseRowTiles(in LinearForwardArgs args)
    {
        long rows = args.X.Rows;
        bool isSmall = rows <= RowTilesVectorRows && args.Weight.Rows * args.X.Columns < RowTilesLeastWeights;
        if (rows < RowTilesLeastRows || isSmall || !TakesRowTiles(args))
        {
            return null;
        }

        int inputs = args.X.Columns, multiprocessors = Context.Device.MultiprocessorCount;
        int outputs = checked((int)args.Weight.Rows), tiles = DivideUp(outputs, PairedRowTile.Outputs);
        if (tiles > multiprocessors)
        {
            return Whole(rows > 64 ? LargeRowTile : rows <= RowTilesVectorRows ? WideRowTile : PairedRowTile);
        }

        if (3 * tiles > multiprocessors)
        {
            return Whole(rows > 64 ? HighRowTile : LoneRowTile);
        }

        if (rows <= 64)
        {
            return Split(PairedRowTile);
        }

        LinearVariant high = Split(HighRowTile), large = Split(LargeRowTile);
        return Bytes(large) < Bytes(high) ? large : high;

        static LinearVariant Whole(LinearTile tile) => new(LinearAlgorithm.TensorCore, tile);

        LinearVariant Split(LinearTile tile)
        {
            int columns = DivideUp(outputs, tile.Outputs), room = RowTileResident(tile) * multiprocessors * RowTileMostBlocks / 100;
            int most = Math.Clamp(tile.Steps(inputs) / RowTileLeastSteps, 1, RowTileMostSplits(tile, inputs));
            return new LinearVariant(LinearAlgorithm.TensorCore, tile, Math.Clamp(room / columns, 1, most));
        }

        // Of a block.
        int Bytes(LinearVariant variant) => DivideUp(variant.Tile.Steps(inputs), variant.Splits) * (variant.Tile.Rows + variant.Tile.Outputs);
    }

    private bool TakesRowTiles(in LinearForwardArgs args) =>
        args.X.Rows <= RowTilesMostRows && HaveTensorCores(args) && HaveWgmma && AreAligned(16, args.X, args.Weight.Matrix)
        && RowTiles.Max(tile => tile.SharedBytes) <= _library.MaxSharedBytes;

    private static int RowTileRows(long rows) => rows <= 64 ? 64 : 128;

    /// <summary>Blocks that a multiprocessor holds.</summary>
    private static int RowTileResident(LinearTile tile) => tile == PairedRowTile ? 2 : 1;

    private int RowTileMostSplits(LinearTile tile, int inputs) =>
        Context.Device.HasClusterLaunch ? Math.Clamp(tile.Steps(inputs), 1, MostClusterBlocks) : 1;

    private void RunRowTiles(in LinearForwardArgs args, LinearTile tile, int splits)
    {
        LinearTileVariant variant = new(tile, args.X.Type, args.Weight.Matrix.Type, args.Y.Type, Aligned: true);
        Dim3 grid = new(DivideUp((int)args.Weight.Rows, tile.Outputs) * splits, DivideUp((int)args.X.Rows, tile.Rows));
        Launch(LinearRowsKernels.Get(_library, variant), grid, tile.Threads, LinearParams(args, splits), tile.SharedBytes, splits,
            overlaps: args.WeightIsAtRest, cluster: splits);
    }
}
