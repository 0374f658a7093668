using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in mixer_step_rows.cu.
    private const int MixerRowsOfGroup = 8;
    private const int MixerRowsTile = 16;
    private const int MixerRowsPiece = 32;
    private const int MixerRowsTileBytes = MixerRowsTile * MixerRowsPiece * 2;
    private const int MixerRowsMostShares = 4;
    private const int MixerRowsRank = 192;
    private const int MixerRowsAdvanceChannels = 64;
    private const int MixerRowsAdvanceThreads = MixerRowsOfGroup * WarpThreads;

    /// <summary>Channels of a block, most: two threads each.</summary>
    private const int MixerRowsMostSlice = 320;

    /// <summary>Above, more shares are better: a multiprocessor holds one block of a cluster, and not all clusters run at once.</summary>
    private const int MixerRowsSlice = 256;

    /// <summary>Below, a block's weights are too few for its own way to pay.</summary>
    private const int MixerRowsLeastSlice = 64;

    // No card of another generation was timed.
    private static readonly ComputeCapability MixerRowsOldest = new(9, 0);

    private static readonly KernelFamily<MixerRowsVariant> MixerRowsProjectKernels = new(
        "mixer_step_rows.cu",
        variant => $"mamba::mixer_rows_project<{TypeName(variant.Type)}, {MixerWidth}, {variant.RowGroups}>",
        MixerRowsVariant.Projecting,
        inSteps: true,
        oldest: MixerRowsOldest);

    private static readonly KernelFamily<MixerRowsVariant> MixerRowsAdvanceKernels = new(
        "mixer_step_rows.cu",
        variant => $"mamba::mixer_rows_advance<{TypeName(variant.Type)}>",
        MixerRowsVariant.Advancing,
        inSteps: true,
        oldest: MixerRowsOldest);

    /// <summary>The two kernels for many rows, if they can be used.</summary>
    private bool TryMixerStepOfRows(in MixerStepArgs args)
    {
        if (!TakesMixerRows(args) || MixerRowsPlan.Of(args, this) is not { } plan)
        {
            return false;
        }

        (int rows, int channels, int rank, int states) =
            ((int)args.X.Rows, args.X.Columns, args.TimeStepProjection.Columns, (int)args.A.Rows);
        MixerRowsParams parameters = new()
        {
            X = Address(args.X),
            Z = Address(args.Z),
            ConvWeight = Address(args.ConvolutionWeight),
            ConvBias = Address(args.ConvolutionBias),
            ConvState = Address(args.ConvolutionBefore),
            NextConvState = Address(args.ConvolutionAfter),
            ScanWeight = Address(args.ScanProjection.Matrix),
            DeltaWeight = Address(args.TimeStepProjection.Matrix),
            DeltaBias = Address(args.TimeStepBias),
            A = Address(args.A),
            D = Address(args.D),
            State = Address(args.ScanBefore),
            NextState = Address(args.ScanAfter),
            Shares = _scratch.Reserve(plan.ShareBytes),
            U = Address(args.InnerWork),
            Y = Address(args.Y),
            XStride = args.X.RowStride,
            ZStride = args.Z.RowStride,
            ConvWeightStride = args.ConvolutionWeight.RowStride,
            ConvStateStride = args.ConvolutionBefore.RowStride,
            NextConvStateStride = args.ConvolutionAfter.RowStride,
            ScanWeightStride = args.ScanProjection.Matrix.RowStride,
            DeltaWeightStride = args.TimeStepProjection.Matrix.RowStride,
            AStride = args.A.RowStride,
            StateStride = args.ScanBefore.RowStride,
            NextStateStride = args.ScanAfter.RowStride,
            UStride = args.InnerWork.RowStride,
            YStride = args.Y.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Rows = rows,
            Channels = channels,
            Rank = rank,
            States = states,
            Slice = plan.Slice,
            ShareCount = plan.Shares,
            Cluster = plan.Cluster,
        };
        CudaKernel project = MixerRowsProjectKernels.Get(_library, new MixerRowsVariant(ActivationType, plan.RowGroups));
        Dim3 grid = new(plan.Shares * plan.Cluster, plan.RowTiles);
        Launch(project, grid, 2 * plan.Slice, parameters, plan.ProjectBytes, overlaps: true, cluster: plan.Cluster);
        CudaKernel advance = MixerRowsAdvanceKernels.Get(_library, new MixerRowsVariant(ActivationType));
        grid = new Dim3(DivideUp(channels, MixerRowsAdvanceChannels), DivideUp(rows, MixerRowsOfGroup));
        Launch(advance, grid, MixerRowsAdvanceThreads, parameters, overlaps: true);
        return true;
    }

    /// <summary>Whether the kernels know these operands.</summary>
    private bool TakesMixerRows(in MixerStepArgs args) =>
        !_options.BatchInvariant && args.X.Rows is > 0 and <= ushort.MaxValue && args.X.Columns > 0 && ActivationType != DataType.Float32
        && Context.Device.ComputeCapability >= MixerRowsOldest && args.ConvolutionWeight.Rows == MixerWidth
        && args.A.Rows is > 0 and <= MixerStates && args.TimeStepProjection.Columns is > 0 and <= MixerRowsRank
        && args.X.Columns % MixerPiece == 0 && args.TimeStepProjection.Columns % MixerPiece == 0
        && WeightFormat.Of(args.ScanProjection) == new WeightFormat(0, ActivationType)
        && WeightFormat.Of(args.TimeStepProjection) == new WeightFormat(0, ActivationType)
        && AreAligned(16, args.X, args.Z, args.InnerWork, args.Y, args.ScanProjection.Matrix, args.TimeStepProjection.Matrix)
        && AreAligned(16, args.ConvolutionWeight, args.ConvolutionBias, args.ConvolutionBefore, args.ConvolutionAfter)
        && AreAligned(16, args.TimeStepBias, args.A, args.D, args.ScanBefore, args.ScanAfter);

    /// <summary>How the work is cut into blocks.</summary>
    /// <param name="Cluster">Blocks that add up together.</param>
    /// <param name="Slice">Channels of a block of the first kernel.</param>
    /// <param name="Shares">What the clusters leave to be added.</param>
    /// <param name="RowGroups">Groups of rows of a block of the first kernel.</param>
    /// <param name="RowTiles">Blocks of it, one above the other.</param>
    /// <param name="ProjectBytes">Dynamic shared memory of a block of the first kernel.</param>
    /// <param name="ShareBytes">Memory for the shares.</param>
    private readonly record struct MixerRowsPlan(
        int Cluster, int Slice, int Shares, int RowGroups, int RowTiles, int ProjectBytes, long ShareBytes)
    {
        /// <summary>That for these operands, or null where a block's share of the channels would be too large.</summary>
        public static MixerRowsPlan? Of(in MixerStepArgs args, CudaBackend backend)
        {
            (int channels, int rank, int states) = (args.X.Columns, args.TimeStepProjection.Columns, (int)args.A.Rows);
            int groups = DivideUp((int)args.X.Rows, MixerRowsOfGroup), multiprocessors = backend.Context.Device.MultiprocessorCount;
            int cluster = backend.Context.Device.HasClusterLaunch ? MostClusterBlocks : 1;
            int SliceOf(int shares) => DivideUp(channels, cluster * shares * MixerRowsPiece) * MixerRowsPiece;

            int shares = 1;
            while (SliceOf(shares) > MixerRowsSlice && shares < MixerRowsMostShares)
            {
                shares *= 2;
            }

            // Rows are put together where there are blocks enough, which reads weights less often; else there are more blocks by more shares,
            // which the second kernel reads again for every block of its own.
            int rowGroups = 4 * cluster * shares * groups > 3 * multiprocessors ? 2 : 1;
            while (shares < MixerRowsMostShares && 2 * cluster * shares * groups <= multiprocessors && SliceOf(2 * shares) >= MixerRowsLeastSlice)
            {
                shares *= 2;
            }

            int slice = SliceOf(shares), pieces = slice / MixerRowsPiece, tiles = DivideUp(rank + (2 * states), MixerRowsTile);
            shares = DivideUp(DivideUp(channels, slice), cluster);
            int received = cluster * rowGroups * DivideUp(tiles * MixerRowsTile, cluster) * MixerRowsOfGroup * sizeof(float);
            int projectBytes = (tiles * pieces * MixerRowsTileBytes) + (rowGroups * MixerRowsOfGroup * Pitch(pieces)) + received;

            int rowTiles = DivideUp(groups, rowGroups);
            return slice <= MixerRowsMostSlice && projectBytes <= backend._library.MaxSharedBytes
                ? new MixerRowsPlan(cluster, slice, shares, rowGroups, rowTiles, projectBytes,
                    (long)rowTiles * rowGroups * shares * tiles * MixerRowsTile * MixerRowsOfGroup * sizeof(float))
                : null;
        }

        // Two rows that are read at once are in different banks.
        private static int Pitch(int pieces) => (pieces * MixerRowsPiece * 2) + (pieces % 2 == 0 ? 64 : 0);
    }

    /// <summary>An instance of the first kernel, of so many groups of rows, or of the second, which has none.</summary>
    private readonly record struct MixerRowsVariant(DataType Type, int RowGroups = 0)
    {
        private static readonly int[] RowGroupCounts = [1, 2];

        public static IEnumerable<MixerRowsVariant> Projecting =>
            from each in Advancing
            from count in RowGroupCounts
            select each with { RowGroups = count };

        public static IEnumerable<MixerRowsVariant> Advancing { get; } = [new(DataType.BFloat16), new(DataType.Float16)];

        public override string ToString() => RowGroups > 0 ? $"project {MixerRowsOfGroup * RowGroups} rows" : "advance rows";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct MixerRowsParams
    {
        public nint X;
        public nint Z;
        public nint ConvWeight;
        public nint ConvBias;
        public nint ConvState;
        public nint NextConvState;
        public nint ScanWeight;
        public nint DeltaWeight;
        public nint DeltaBias;
        public nint A;
        public nint D;
        public nint State;
        public nint NextState;
        public nint Shares;
        public nint U;
        public nint Y;
        public long XStride;
        public long ZStride;
        public long ConvWeightStride;
        public long ConvStateStride;
        public long NextConvStateStride;
        public long ScanWeightStride;
        public long DeltaWeightStride;
        public long AStride;
        public long StateStride;
        public long NextStateStride;
        public long UStride;
        public long YStride;
        public SequenceTable Sequences;
        public int Rows;
        public int Channels;
        public int Rank;
        public int States;
        public int Slice;
        public int ShareCount;
        public int Cluster;
    }
}
