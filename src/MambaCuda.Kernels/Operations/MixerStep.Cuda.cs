using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in mixer_step.cu.
    private const int MixerWidth = 4;
    private const int MixerPiece = 8;
    private const int MixerOutputs = 16;
    private const int MixerChannels = 32;
    private const int MixerParts = 8;
    private const int MixerStates = 16;
    private const int MixerRank = 256;
    private const int MixerSlices = 16;

    // Above, reading what is small again for every row, and one after the other, takes longer than kernels that have rows in tiles.
    private const int MixerRows = 4;

    // As many as mixer_step_project takes at once, where there are several.
    private const int MixerRowsAtOnce = 4;

    // Up to here, slices of half the length: more blocks share the work.
    private const int MixerChannelsOfOnePiece = 2048;

    private static readonly KernelFamily<MixerVariant> MixerStepProjectKernels = new(
        "mixer_step.cu",
        variant => $"mamba::mixer_step_project<{TypeName(variant.Type)}, {variant.Weight.Name}, {MixerWidth}, {variant.Pieces}, {variant.Rows}>",
        MixerVariant.Projecting,
        inSteps: true);

    private static readonly KernelFamily<MixerVariant> MixerStepAdvanceKernels = new(
        "mixer_step.cu",
        variant => $"mamba::mixer_step_advance<{TypeName(variant.Type)}, {variant.Weight.Name}, {MixerWidth}>",
        MixerVariant.Advancing,
        inSteps: true);

    /// <inheritdoc/>
    protected override void MixerStepCore(in MixerStepArgs args)
    {
        if (!TakesMixerStep(args))
        {
            if (!TryMixerStepOfRows(args))
            {
                MixerStepByParts(args);
            }

            return;
        }

        (int rows, int channels, int rank, int states) =
            ((int)args.X.Rows, args.X.Columns, args.TimeStepProjection.Columns, (int)args.A.Rows);
        int outputs = rank + (2 * states), pieces = channels <= MixerChannelsOfOnePiece ? 1 : 2;
        int slices = DivideUp(channels, pieces * WarpThreads * MixerPiece);
        MixerStepParams parameters = new()
        {
            X = Address(args.X),
            Z = Address(args.Z),
            ConvWeight = Address(args.ConvolutionWeight),
            ConvBias = Address(args.ConvolutionBias),
            ConvState = Address(args.ConvolutionBefore),
            NextConvState = Address(args.ConvolutionAfter),
            ScanWeight = WeightOf(args.ScanProjection),
            DeltaWeight = WeightOf(args.TimeStepProjection),
            DeltaBias = Address(args.TimeStepBias),
            A = Address(args.A),
            D = Address(args.D),
            State = Address(args.ScanBefore),
            NextState = Address(args.ScanAfter),
            Shares = _scratch.Reserve((long)rows * slices * outputs * sizeof(float)),
            Y = Address(args.Y),
            XStride = args.X.RowStride,
            ZStride = args.Z.RowStride,
            ConvWeightStride = args.ConvolutionWeight.RowStride,
            ConvStateStride = args.ConvolutionBefore.RowStride,
            NextConvStateStride = args.ConvolutionAfter.RowStride,
            AStride = args.A.RowStride,
            StateStride = args.ScanBefore.RowStride,
            NextStateStride = args.ScanAfter.RowStride,
            YStride = args.Y.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Rows = rows,
            Channels = channels,
            Rank = rank,
            States = states,
            Slices = slices,
        };
        MixerVariant advancing = new(ActivationType, WeightFormat.Of(args.ScanProjection));
        CudaKernel project = MixerStepProjectKernels.Get(_library, advancing with { Pieces = pieces, Rows = rows == 1 ? 1 : MixerRowsAtOnce });
        Launch(project, slices * DivideUp(outputs, MixerOutputs), MixerOutputs * WarpThreads, parameters, overlaps: true);
        Dim3 grid = new(DivideUp(channels, MixerChannels), rows);
        CudaKernel advance = MixerStepAdvanceKernels.Get(_library, advancing);
        Launch(advance, grid, MixerChannels * MixerParts, parameters, overlaps: true);
    }

    /// <summary>Whether the two kernels can be used, and are the best that there is.</summary>
    private bool TakesMixerStep(in MixerStepArgs args) =>
        !_options.BatchInvariant && args.X.Rows is > 0 and <= MixerRows && args.X.Columns > 0 && args.ConvolutionWeight.Rows == MixerWidth
        && args.A.Rows is > 0 and <= MixerStates && args.TimeStepProjection.Columns is > 0 and <= MixerRank
        && args.X.Columns <= MixerSlices * 2 * WarpThreads * MixerPiece && args.X.Columns % MixerPiece == 0
        && args.TimeStepProjection.Columns % MixerPiece == 0
        && MeetsFewRows(args.ScanProjection, ActivationType)
        && WeightFormat.Of(args.TimeStepProjection) == WeightFormat.Of(args.ScanProjection)
        && AreAligned(16, args.ScanProjection.Stored, args.TimeStepProjection.Stored);

    /// <summary>An instance of either kernel; the second has no pieces.</summary>
    private readonly record struct MixerVariant(DataType Type, WeightFormat Weight, int Pieces = 0, int Rows = 0)
    {
        public static IEnumerable<MixerVariant> Projecting =>
            from each in Advancing
            from isLong in VectorVariant.Either
            from hasRows in VectorVariant.Either
            select each with { Pieces = isLong ? 2 : 1, Rows = hasRows ? MixerRowsAtOnce : 1 };

        public static IEnumerable<MixerVariant> Advancing =>
            from type in VectorVariant.ActivationTypes
            from weight in WeightFormat.OfFew(type)
            select new MixerVariant(type, weight);

        public override string ToString() =>
            (Pieces == 0 ? "advance" : $"project, {Pieces} {(Pieces == 1 ? "piece" : "pieces")}{(Rows == 1 ? "" : $", {Rows} rows")}")
            + Weight.Suffix;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct MixerStepParams
    {
        public nint X;
        public nint Z;
        public nint ConvWeight;
        public nint ConvBias;
        public nint ConvState;
        public nint NextConvState;
        public WeightMatrix ScanWeight;
        public WeightMatrix DeltaWeight;
        public nint DeltaBias;
        public nint A;
        public nint D;
        public nint State;
        public nint NextState;
        public nint Shares;
        public nint Y;
        public long XStride;
        public long ZStride;
        public long ConvWeightStride;
        public long ConvStateStride;
        public long NextConvStateStride;
        public long AStride;
        public long StateStride;
        public long NextStateStride;
        public long YStride;
        public SequenceTable Sequences;
        public int Rows;
        public int Channels;
        public int Rank;
        public int States;
        public int Slices;
    }
}
