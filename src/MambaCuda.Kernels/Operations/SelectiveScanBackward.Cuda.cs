using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <summary>kCheckpointSteps in sequences.cuh: a tile of the backward kernel.</summary>
    private const int CheckpointSteps = 16;

    private const int AnyScanBackwardThreads = 128;

    /// <summary>What a thread of the kernel of tiles copies at once.</summary>
    private const int FetchBytes = 16;

    /// <summary>Warps of the backward kernel that a multiprocessor runs at a time; its registers are bounded by that.</summary>
    private const int ScanBackwardWarps = 16;

    /// <summary>A shorter chunk than this many tiles costs more than it brings.</summary>
    private const int ShortestChunkTiles = 4;

    /// <summary>Into how many ranges the kernel for every state size cuts channels: their shares of the gradients of B and C are memory.</summary>
    private const int MostAnyRanges = 64;

    private static readonly KernelFamily<ScanBackwardVariant> SelectiveScanBackwardKernels = new(
        "selective_scan_backward.cu", variant => variant.Expression, ScanBackwardVariant.All);

    private static readonly KernelFamily<AnyScanBackwardVariant> SelectiveScanBackwardAnyKernels = new(
        "selective_scan_backward.cu", variant => variant.Expression, AnyScanBackwardVariant.All);

    /// <inheritdoc/>
    public override int ScanCheckpointSteps => CheckpointSteps;

    /// <inheritdoc/>
    protected override void SelectiveScanBackwardCore(in SelectiveScanBackwardArgs args)
    {
        SelectiveScanForwardArgs forward = args.Forward;
        if (forward.U.Columns == 0)
        {
            return;
        }

        bool constant = forward.ConstantB || forward.ConstantC;
        ScanBackwardShape? shape = constant || !HasShortRows(args) ? null : BackwardShape(args);
        SelectiveScanBackwardParams parameters = BackwardParams(args);
        bool aligned = false;
        if (shape is { } tiled)
        {
            aligned = IsAligned(tiled, args);
            PlanTiles(tiled, args, aligned, ref parameters);
        }
        else
        {
            PlanAny(args, ref parameters);
        }

        ScanShares shares = new(args, parameters.PartsOfGroup, parameters.Shards);
        long chunkRows = parameters.Chunks > 1 ? parameters.Shards : 0;
        long stateBytes = chunkRows * parameters.States * parameters.Channels * sizeof(float);
        nint scratch = _scratch.Reserve(shares.Bytes + stateBytes + (chunkRows * parameters.Channels * sizeof(float)));
        shares.Start = scratch;
        parameters.BShares = shares.OfTokenB;
        parameters.CShares = shares.OfTokenC;
        parameters.ParameterShares = shares.HasParameters ? shares.Parameter(0) : 0;
        parameters.ParameterRows = shares.ParameterRows;
        if (shape is { } chosen)
        {
            nint chunkStates = checked((nint)(scratch + shares.Bytes));
            LaunchTiles(chosen, aligned, parameters, chunkStates, checked((nint)(chunkStates + stateBytes)));
        }
        else
        {
            AnyScanBackwardVariant variant = AnyScanBackwardVariant.For(ActivationType, parameters.States);
            int warps = parameters.PartsOfGroup * parameters.Groups, perBlock = AnyScanBackwardThreads / WarpThreads;
            int bytes = perBlock * (CheckpointSteps + 1) * WarpThreads * variant.LaneStates * sizeof(float);
            Launch(
                SelectiveScanBackwardAnyKernels.Get(_library, variant), new Dim3(DivideUp(warps, perBlock), parameters.Shards),
                AnyScanBackwardThreads, parameters, bytes);
        }

        AddShares(shares, args);
    }

    /// <summary>
    /// The shape for the state size: large blocks, which leave fewer shares, unless small ones leave the multiprocessor that has most to do
    /// a sixth less of it (measured: 8 x 1536 x 2048 takes 11 % less, where both load the card evenly a tenth more).
    /// </summary>
    private ScanBackwardShape? BackwardShape(in SelectiveScanBackwardArgs args)
    {
        int states = (int)args.Forward.A.Rows, multiprocessors = Context.Device.MultiprocessorCount;
        int groups = args.Forward.Groups, groupChannels = args.Forward.U.Columns / groups;
        long sequences = args.Forward.Sequences.Count;
        long Load(ScanBackwardShape shape) =>
            DivideUp(groups * DivideUp(groupChannels, shape.BlockChannels) * sequences, multiprocessors) * shape.BlockWarps;
        ScanBackwardShape? chosen = null;
        foreach (ScanBackwardShape shape in ScanBackwardShape.All)
        {
            bool fits = shape.Type == ActivationType && shape.States == states && shape.SharedBytes <= _library.MaxSharedBytes;
            if (fits && (chosen is not { } larger || (!_options.BatchInvariant && 6 * Load(shape) <= 5 * Load(larger))))
            {
                chosen = shape;
            }
        }

        return chosen;
    }

    /// <summary>
    /// Whether numbers of rows and strides have 32 bits, which is what the kernel of tiles counts in, rows in bytes of an element. There is one
    /// share of every token for some channels at least.
    /// </summary>
    private static bool HasShortRows(in SelectiveScanBackwardArgs args)
    {
        SelectiveScanForwardArgs forward = args.Forward;
        ReadOnlySpan<MatrixView> views =
        [
            forward.U, forward.Delta, forward.B, forward.C, forward.Z, forward.Y, forward.Checkpoints, args.GradY, args.GradU, args.GradDelta,
            args.GradZ,
        ];
        bool isShort = forward.U.Rows * forward.U.Columns / ScanBackwardShape.LeastChannels <= uint.MaxValue;
        foreach (ref readonly MatrixView view in views)
        {
            isShort &= view.Rows * sizeof(float) <= uint.MaxValue && view.RowStride <= uint.MaxValue;
        }

        return isShort;
    }

    /// <summary>Whether rows can be copied 16 bytes at a time.</summary>
    private bool IsAligned(ScanBackwardShape shape, in SelectiveScanBackwardArgs args)
    {
        SelectiveScanForwardArgs forward = args.Forward;
        int bytes = ActivationType.Size();
        return forward.U.Columns / forward.Groups * bytes % FetchBytes == 0
            && AreAligned(FetchBytes, forward.U, forward.Delta, forward.Z, args.GradY, forward.Checkpoints)
            && AreAligned(4 * bytes, forward.B, forward.C)
            && AreAligned(shape.Piece * bytes, forward.Y, args.GradU, args.GradDelta, args.GradZ);
    }

    /// <summary>How many channels a block has of each group, and shards or chunks of sequences.</summary>
    private void PlanTiles(
        ScanBackwardShape shape, in SelectiveScanBackwardArgs args, bool aligned, ref SelectiveScanBackwardParams parameters)
    {
        SequenceLayout sequences = args.Forward.Sequences;
        parameters.PartsOfGroup = DivideUp(parameters.GroupChannels, shape.BlockChannels);
        int blocks = parameters.PartsOfGroup * parameters.Groups, slots = Context.Device.MultiprocessorCount * (ScanBackwardWarps / shape.BlockWarps);

        // Cut as forward is: never, where a result must not depend on what else is in the batch. Nor where elements go one by one.
        long chunks = Math.Min(slots / ((long)blocks * sequences.Count), sequences.MaxLength / (ShortestChunkTiles * CheckpointSteps));
        if (aligned && !_options.BatchInvariant && chunks > 1)
        {
            parameters.ChunkLength = DivideUp(DivideUp(sequences.MaxLength, CheckpointSteps), chunks) * CheckpointSteps;
            parameters.Chunks = (int)DivideUp(sequences.MaxLength, parameters.ChunkLength);
        }

        parameters.Shards = parameters.Chunks > 1 ? checked(parameters.Chunks * sequences.Count) : ShardsOf(sequences.Count, blocks);
    }

    private void PlanAny(in SelectiveScanBackwardArgs args, ref SelectiveScanBackwardParams parameters)
    {
        parameters.PartsOfGroup = Math.Min(parameters.GroupChannels, Math.Max(1, MostAnyRanges / parameters.Groups));
        int blocks = DivideUp(parameters.PartsOfGroup * parameters.Groups, AnyScanBackwardThreads / WarpThreads);
        parameters.Shards = ShardsOf(args.Forward.Sequences.Count, blocks);
    }

    /// <summary>Blocks along the sequences: enough to fill the card eight times, since each leaves its share of sums over tokens.</summary>
    private int ShardsOf(int sequences, int blocks)
    {
        int filling = 8 * Context.Device.MultiprocessorCount * ScanBackwardWarps;
        return Math.Clamp(DivideUp(filling, blocks), 1, Math.Min(sequences, ushort.MaxValue));
    }

    private void LaunchTiles(
        ScanBackwardShape shape, bool aligned, SelectiveScanBackwardParams parameters, nint chunkGradients, nint deltaSums)
    {
        CudaKernel Kernel(bool chunkGradientsOnly) => SelectiveScanBackwardKernels.Get(
            _library, new ScanBackwardVariant(shape, chunkGradientsOnly, aligned));
        Dim3 grid = new(parameters.PartsOfGroup * parameters.Groups, parameters.Shards);
        if (parameters.Chunks == 1)
        {
            Launch(Kernel(false), grid, shape.BlockThreads, parameters, shape.SharedBytes);
            return;
        }

        ScanChunksParams chunks = new()
        {
            A = parameters.A,
            InitialState = parameters.GradFinalState,
            FinalState = parameters.GradInitialState,
            ChunkStates = chunkGradients,
            DeltaSums = deltaSums,
            AStride = parameters.AStride,
            InitialStride = parameters.GradFinalStride,
            FinalStride = parameters.GradInitialStride,
            Sequences = parameters.Sequences,
            Chunks = parameters.Chunks,
            Channels = parameters.Channels,
            States = parameters.States,
            Backward = 1,
        };
        parameters.DeltaSums = deltaSums;
        parameters.GradFinalState = 0;
        parameters.GradInitialState = chunkGradients;
        parameters.GradFinalStride = parameters.GradInitialStride = parameters.Channels;
        Launch(Kernel(true), grid, shape.BlockThreads, parameters, shape.SharedBytes, parameters.Chunks);
        LaunchChunks(chunks);
        parameters.GradFinalState = chunkGradients;
        parameters.GradInitialState = 0;
        Launch(Kernel(false), grid, shape.BlockThreads, parameters, shape.SharedBytes, parameters.Chunks);
    }

    private void AddShares(in ScanShares shares, in SelectiveScanBackwardArgs args)
    {
        int channels = args.Forward.U.Columns, states = (int)args.Forward.A.Rows;
        SumPartials(
            shares.TokenFloats, shares.TokenColumns, shares.Parts, add: false, (shares.OfTokenB, shares.HasTokenB ? args.GradB : default),
            (shares.OfTokenC, shares.HasTokenC ? args.GradC : default));
        int ofConstantB = states + 2, ofConstantC = ofConstantB + (args.Forward.ConstantB ? states : 0);
        SumPartials(
            (long)shares.ParameterRows * channels, channels, shares.Shards, add: true, (shares.Parameter(0), args.GradA),
            (shares.Parameter(states), args.GradD), (shares.Parameter(states + 1), args.GradDeltaBias),
            (shares.Parameter(ofConstantB), args.Forward.ConstantB ? args.GradB : default),
            (shares.Parameter(ofConstantC), args.Forward.ConstantC ? args.GradC : default));
    }

    private SelectiveScanBackwardParams BackwardParams(in SelectiveScanBackwardArgs args)
    {
        SelectiveScanForwardArgs forward = args.Forward;
        int groups = forward.Groups;
        return new SelectiveScanBackwardParams
        {
            U = Address(forward.U),
            Delta = Address(forward.Delta),
            A = Address(forward.A),
            B = Address(forward.B),
            C = Address(forward.C),
            D = Address(forward.D),
            Z = Address(forward.Z),
            DeltaBias = Address(forward.DeltaBias),
            Checkpoints = Address(forward.Checkpoints),
            GradY = Address(args.GradY),
            GradFinalState = Address(args.GradFinalState),
            Y = Address(forward.Y),
            GradU = Address(args.GradU),
            GradDelta = Address(args.GradDelta),
            GradZ = Address(args.GradZ),
            GradInitialState = Address(args.GradInitialState),
            UStride = forward.U.RowStride,
            DeltaStride = forward.Delta.RowStride,
            AStride = forward.A.RowStride,
            BStride = forward.B.RowStride,
            CStride = forward.C.RowStride,
            ZStride = forward.Z.RowStride,
            CheckpointStride = forward.Checkpoints.RowStride,
            GradYStride = args.GradY.RowStride,
            GradFinalStride = args.GradFinalState.RowStride,
            YStride = forward.Y.RowStride,
            GradUStride = args.GradU.RowStride,
            GradDeltaStride = args.GradDelta.RowStride,
            GradZStride = args.GradZ.RowStride,
            GradInitialStride = args.GradInitialState.RowStride,
            Tokens = forward.U.Rows,
            Sequences = _sequenceTables.For(forward.Sequences),
            Chunks = 1,
            Channels = forward.U.Columns,
            GroupChannels = forward.U.Columns / groups,
            Groups = groups,
            States = (int)forward.A.Rows,
            DeltaSoftplus = forward.DeltaSoftplus ? 1 : 0,
            ConstantB = forward.ConstantB ? 1 : 0,
            ConstantC = forward.ConstantC ? 1 : 0,
        };
    }

    /// <summary>
    /// Where blocks leave their shares of sums: those over channels a matrix (tokens, groups * state size) for each part of the channels,
    /// those over tokens a matrix (parameter rows, channels) for each shard. Nothing where nobody asks for the sum.
    /// </summary>
    private struct ScanShares
    {
        private readonly int _channels;

        public ScanShares(in SelectiveScanBackwardArgs args, int parts, int shards)
        {
            SelectiveScanForwardArgs forward = args.Forward;
            _channels = forward.U.Columns;
            Parts = parts;
            Shards = shards;
            TokenColumns = forward.Groups * (int)forward.A.Rows;
            TokenFloats = forward.U.Rows * TokenColumns;
            HasTokenB = !forward.ConstantB && !args.GradB.IsNone;
            HasTokenC = !forward.ConstantC && !args.GradC.IsNone;
            HasParameters = !args.GradA.IsNone || !args.GradD.IsNone || !args.GradDeltaBias.IsNone
                || (forward.ConstantB && !args.GradB.IsNone) || (forward.ConstantC && !args.GradC.IsNone);
            ParameterRows = ((int)forward.A.Rows * (1 + (forward.ConstantB ? 1 : 0) + (forward.ConstantC ? 1 : 0))) + 2;
        }

        public nint Start { get; set; }

        public int Parts { get; }

        public int Shards { get; }

        public int TokenColumns { get; }

        public long TokenFloats { get; }

        public bool HasTokenB { get; }

        public bool HasTokenC { get; }

        public bool HasParameters { get; }

        public int ParameterRows { get; }

        public readonly long Bytes => sizeof(float)
            * ((MatrixFloats * ((HasTokenB ? 1 : 0) + (HasTokenC ? 1 : 0))) + (HasParameters ? (long)Shards * ParameterRows * _channels : 0));

        public readonly nint OfTokenB => HasTokenB ? Start : 0;

        public readonly nint OfTokenC => HasTokenC ? At(HasTokenB ? MatrixFloats : 0) : 0;

        private readonly long MatrixFloats => TokenFloats * Parts;

        /// <summary>A row of the first shard: those of A, then D, the bias of delta, and B and C where they are constant.</summary>
        public readonly nint Parameter(int row) =>
            At((MatrixFloats * ((HasTokenB ? 1 : 0) + (HasTokenC ? 1 : 0))) + ((long)row * _channels));

        private readonly nint At(long floats) => checked((nint)(Start + (floats * sizeof(float))));
    }

    /// <summary>How a block of the backward scan is cut, as ScanBackwardShape in selective_scan_backward.cu.</summary>
    private readonly record struct ScanBackwardShape(DataType Type, int States, int Warps, int Teams)
    {
        /// <summary>Of a block, in every shape.</summary>
        public const int LeastChannels = 8;

        private const int LaneStates = 4;

        /// <summary>Of ScanBackwardPlace.</summary>
        private const int PlaceWords = 8;

        /// <summary>
        /// The state sizes that have a kernel of their own, with the warps of a team and the teams of a block, the largest block of a size
        /// first; every other size takes the kernel for all.
        /// </summary>
        public static ScanBackwardShape[] All { get; } =
        [
            .. from type in VectorVariant.ActivationTypes
               from size in new (int States, int Warps, int Teams)[]
               {
                   (4, 2, 1), (8, 4, 1), (16, 8, 2), (16, 8, 1), (16, 4, 1), (32, 8, 1), (64, 8, 1), (64, 4, 1),
               }
               select new ScanBackwardShape(type, size.States, size.Warps, size.Teams),
        ];

        public int BlockChannels => Teams * Channels;

        public int BlockThreads => Teams * Threads;

        public int BlockWarps => Teams * Warps;

        /// <summary>Channels that a thread takes at once.</summary>
        public int Piece => Math.Min(4, Channels * CheckpointSteps / Threads);

        public int SharedBytes
        {
            get
            {
                int elements = CheckpointSteps * Channels, matrices = 2 * CheckpointSteps * States;
                int shares = Warps * (Type.Size() == 2 && WarpChannels == 8 ? 2 : 1), sums = 3 * CheckpointSteps * (Channels + 8);
                int own = 2 * Piece * Threads, before = 2 * LaneStates * Threads, inputs = 2 * CheckpointSteps * (Channels + (Channels / 8));
                bool fetchesOneEach = Channels * CheckpointSteps * Type.Size() * 2 == FetchBytes * Threads && matrices <= LaneStates * Threads;
                int sources = fetchesOneEach ? 6 * Threads : 0, offsets = Warps >= 8 ? 4 * Threads : 0, columns = shares > Warps ? 8 * 8 : 0;
                int floats = (4 * elements) + inputs + matrices + sums + (shares * (matrices + 8)) + own + before + sources + offsets + columns
                    + (2 * Channels) + PlaceWords + (Teams > 1 ? matrices : 0);
                return Teams * ((((5 * elements) + matrices) * Type.Size()) + (floats * sizeof(float)));
            }
        }

        public string Expression => $"mamba::ScanBackwardShape<{TypeName(Type)}, {States}, {Warps}, {Teams}>";

        private int Channels => Warps * WarpChannels;

        private int Threads => Warps * WarpThreads;

        private int WarpChannels => WarpThreads / (States / LaneStates);
    }

    private readonly record struct ScanBackwardVariant(ScanBackwardShape Shape, bool ChunkGradients, bool Aligned)
    {
        /// <summary>Elements go one by one in whole sequences alone.</summary>
        public static IEnumerable<ScanBackwardVariant> All =>
            from shape in ScanBackwardShape.All
            from variant in new[] { (false, false), (false, true), (true, true) }
            select new ScanBackwardVariant(shape, variant.Item1, variant.Item2);

        public string Expression =>
            $"mamba::selective_scan_backward<{Shape.Expression}, mamba::ScanBackwardPart::{(ChunkGradients ? "chunk_gradients" : "whole")}, {Word(Aligned)}>";

        public override string ToString() =>
            ChunkGradients ? "chunk gradients" : $"{Shape.States} states, {(Shape.Teams > 1 ? $"{Shape.Teams} x " : "")}{Shape.Warps} warps" + Placed(Aligned);
    }

    private readonly record struct AnyScanBackwardVariant(DataType Type, int LaneStates)
    {
        public static IEnumerable<AnyScanBackwardVariant> All =>
            from type in VectorVariant.ActivationTypes from power in Enumerable.Range(0, 4) select new AnyScanBackwardVariant(type, 1 << power);

        public string Expression => $"mamba::selective_scan_backward_any<{TypeName(Type)}, {LaneStates}>";

        public static AnyScanBackwardVariant For(DataType type, int states) =>
            new(type, LaneStatesOf(states));

        public override string ToString() => $"any size, {LaneStates} a lane";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SelectiveScanBackwardParams
    {
        public nint U;
        public nint Delta;
        public nint A;
        public nint B;
        public nint C;
        public nint D;
        public nint Z;
        public nint DeltaBias;
        public nint Checkpoints;
        public nint GradY;
        public nint GradFinalState;
        public nint Y;
        public nint GradU;
        public nint GradDelta;
        public nint GradZ;
        public nint GradInitialState;
        public nint BShares;
        public nint CShares;
        public nint ParameterShares;
        public nint DeltaSums;
        public long UStride;
        public long DeltaStride;
        public long AStride;
        public long BStride;
        public long CStride;
        public long ZStride;
        public long CheckpointStride;
        public long GradYStride;
        public long GradFinalStride;
        public long YStride;
        public long GradUStride;
        public long GradDeltaStride;
        public long GradZStride;
        public long GradInitialStride;
        public long Tokens;
        public SequenceTable Sequences;
        public long ChunkLength;
        public int Chunks;
        public int Shards;
        public int Channels;
        public int GroupChannels;
        public int Groups;
        public int PartsOfGroup;
        public int ParameterRows;
        public int States;
        public int DeltaSoftplus;
        public int ConstantB;
        public int ConstantC;
    }
}
