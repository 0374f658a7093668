using System.Numerics;
using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int AnyScanThreads = 128;
    private const int ChunkThreads = 128;

    private static readonly KernelFamily<ScanVariant> SelectiveScanForwardKernels = new(
        "selective_scan_forward.cu", variant => variant.Expression, ScanVariant.All);

    private static readonly KernelFamily<AnyScanVariant> SelectiveScanForwardAnyKernels = new(
        "selective_scan_forward.cu", variant => variant.Expression, AnyScanVariant.Real.Concat(AnyScanVariant.Complex));

    private static readonly KernelFamily<int> SelectiveScanChunksKernels = new(
        "selective_scan_forward.cu", threads => $"mamba::selective_scan_chunks<{threads}>", [ChunkThreads], describe: _ => "chunk states");

    /// <inheritdoc/>
    protected override void SelectiveScanForwardCore(in SelectiveScanForwardArgs args)
    {
        int channels = args.U.Columns, states = (int)args.A.Rows;
        if (channels == 0)
        {
            return;
        }

        int groups = args.Groups;
        ScanPlan? plan = args.ConstantB || args.ConstantC || args.IsComplex ? null : new ScanPlanner
        {
            Multiprocessors = Context.Device.MultiprocessorCount,
            SharedBytes = _library.MaxSharedBytes,
            Aligned = AreAligned(16, args.U, args.Delta, args.B, args.C, args.Z, args.Y),
            BatchInvariant = _options.BatchInvariant,
        }.Plan(states, args.Sequences, channels / groups, groups);
        SelectiveScanForwardParams parameters = new()
        {
            U = Address(args.U),
            Delta = Address(args.Delta),
            A = Address(args.A),
            B = Address(args.B),
            C = Address(args.C),
            D = Address(args.D),
            Z = Address(args.Z),
            DeltaBias = Address(args.DeltaBias),
            InitialState = Address(args.InitialState),
            FinalState = Address(args.FinalState),
            Checkpoints = Address(args.Checkpoints),
            Y = Address(args.Y),
            AImaginary = Address(args.AImaginary),
            UStride = args.U.RowStride,
            DeltaStride = args.Delta.RowStride,
            AStride = args.A.RowStride,
            BStride = args.B.RowStride,
            CStride = args.C.RowStride,
            ZStride = args.Z.RowStride,
            InitialStride = args.InitialState.RowStride,
            FinalStride = args.FinalState.RowStride,
            CheckpointStride = args.Checkpoints.RowStride,
            YStride = args.Y.RowStride,
            AImaginaryStride = args.AImaginary.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Chunks = 1,
            Channels = channels,
            GroupChannels = channels / groups,
            States = states,
            DeltaSoftplus = args.DeltaSoftplus ? 1 : 0,
            ConstantB = args.ConstantB ? 1 : 0,
            ConstantC = args.ConstantC ? 1 : 0,
        };
        if (plan is { } chosen)
        {
            ScanInTiles(args, chosen, groups, parameters);
            return;
        }

        parameters.BlocksOfSequence = DivideUp(channels, AnyScanThreads / 32);
        AnyScanVariant variant = args.IsComplex
            ? AnyScanVariant.ForComplex(ActivationType, states)
            : AnyScanVariant.For(ActivationType, states, args.ConstantB, args.ConstantC);
        Launch(SelectiveScanForwardAnyKernels.Get(_library, variant), checked(parameters.BlocksOfSequence * args.Sequences.Count), AnyScanThreads, parameters);
    }

    /// <summary>What states are made of, as state_numbers.cuh names it.</summary>
    private static string NumberName(bool isComplex) => isComplex ? "mamba::Complex" : "float";

    private void ScanInTiles(in SelectiveScanForwardArgs args, in ScanPlan plan, int groups, SelectiveScanForwardParams parameters)
    {
        ScanShape shape = plan.Shape;
        ScanPart part = parameters.Checkpoints == 0 ? ScanPart.Whole : ScanPart.Checkpointed;
        CudaKernel whole = SelectiveScanForwardKernels.Get(_library, new ScanVariant(ActivationType, shape, part, plan.Aligned));
        parameters.BlocksOfGroup = DivideUp(parameters.GroupChannels, shape.Channels);
        parameters.BlocksOfSequence = groups * parameters.BlocksOfGroup;
        int blocks = checked(parameters.BlocksOfSequence * args.Sequences.Count);
        if (plan.Chunks == 1)
        {
            Launch(whole, blocks, shape.Threads, parameters, shape.SharedBytes);
            return;
        }

        long rows = (long)args.Sequences.Count * plan.Chunks;
        long stateBytes = rows * parameters.States * parameters.Channels * sizeof(float);
        nint chunkStates = _scratch.Reserve(stateBytes + (rows * parameters.Channels * sizeof(float)));
        nint deltaSums = checked((nint)(chunkStates + stateBytes));
        ScanChunksParams chunks = new()
        {
            A = parameters.A,
            InitialState = parameters.InitialState,
            FinalState = parameters.FinalState,
            ChunkStates = chunkStates,
            DeltaSums = deltaSums,
            AStride = parameters.AStride,
            InitialStride = parameters.InitialStride,
            FinalStride = parameters.FinalStride,
            Sequences = parameters.Sequences,
            Chunks = plan.Chunks,
            Channels = parameters.Channels,
            States = parameters.States,
        };
        parameters.Chunks = plan.Chunks;
        parameters.ChunkLength = plan.ChunkLength;
        parameters.DeltaSums = deltaSums;
        parameters.InitialState = 0;
        parameters.FinalState = chunkStates;
        parameters.InitialStride = parameters.FinalStride = parameters.Channels;
        Dim3 grid = new(blocks, plan.Chunks);
        CudaKernel ends = SelectiveScanForwardKernels.Get(_library, new ScanVariant(ActivationType, shape, ScanPart.EndState, plan.Aligned));
        Launch(ends, grid, shape.Threads, parameters, shape.SharedBytes, plan.Chunks);
        LaunchChunks(chunks);
        parameters.InitialState = chunkStates;
        parameters.FinalState = 0;
        Launch(whole, grid, shape.Threads, parameters, shape.SharedBytes, plan.Chunks);
    }

    /// <summary>The second pass of a scan in chunks, forward or back: from what each chunk makes of nothing to what it starts from.</summary>
    private void LaunchChunks(in ScanChunksParams chunks)
    {
        Dim3 states = new(DivideUp(chunks.Channels, ChunkThreads), chunks.States, chunks.Sequences.Count);
        Launch(SelectiveScanChunksKernels.Get(_library, ChunkThreads), states, ChunkThreads, chunks);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SelectiveScanForwardParams
    {
        public nint U;
        public nint Delta;
        public nint A;
        public nint B;
        public nint C;
        public nint D;
        public nint Z;
        public nint DeltaBias;
        public nint InitialState;
        public nint FinalState;
        public nint Checkpoints;
        public nint Y;
        public nint AImaginary;
        public long UStride;
        public long DeltaStride;
        public long AStride;
        public long BStride;
        public long CStride;
        public long ZStride;
        public long InitialStride;
        public long FinalStride;
        public long CheckpointStride;
        public long YStride;
        public long AImaginaryStride;
        public SequenceTable Sequences;
        public nint DeltaSums;
        public long ChunkLength;
        public int Chunks;
        public int Channels;
        public int GroupChannels;
        public int BlocksOfGroup;
        public int BlocksOfSequence;
        public int States;
        public int DeltaSoftplus;
        public int ConstantB;
        public int ConstantC;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ScanChunksParams
    {
        public nint A;
        public nint InitialState;
        public nint FinalState;
        public nint ChunkStates;
        public nint DeltaSums;
        public long AStride;
        public long InitialStride;
        public long FinalStride;
        public SequenceTable Sequences;
        public int Chunks;
        public int Channels;
        public int States;
        public int Backward;
    }

    /// <summary>States of a lane in the kernels for every state size, whose instances are for powers of two.</summary>
    private static int LaneStatesOf(int states) => (int)BitOperations.RoundUpToPowerOf2((uint)DivideUp(states, WarpThreads));

    /// <summary>What a launch of the kernel that scans in tiles computes.</summary>
    private enum ScanPart
    {
        Whole,
        EndState,
        Checkpointed,
    }

    /// <summary>An instance of the kernel that scans in tiles.</summary>
    private readonly record struct ScanVariant(DataType Type, ScanShape Shape, ScanPart Part, bool Aligned)
    {
        public static IEnumerable<ScanVariant> All =>
            from type in VectorVariant.ActivationTypes
            from shape in ScanPlanner.Shapes
            from aligned in VectorVariant.Either
            from part in Enum.GetValues<ScanPart>()
            where (aligned && part != ScanPart.EndState) || ScanPlanner.IsForMany(shape)
            select new ScanVariant(type, shape, part, aligned);

        public string Expression =>
            $"mamba::selective_scan_forward<{TypeName(Type)}, {Shape.Expression}, mamba::ScanPart::{PartName}, {Word(Aligned)}>";

        private string PartName => Part switch
        {
            ScanPart.EndState => "end_state",
            ScanPart.Checkpointed => "checkpointed",
            _ => "whole",
        };

        public override string ToString() => Part switch
        {
            ScanPart.EndState => "chunk ends",
            ScanPart.Checkpointed => $"{Shape} checkpointed{Placed(Aligned)}",
            _ => Shape + Placed(Aligned),
        };
    }

    /// <summary>
    /// An instance of the kernel for every state size; each lane of a warp has <paramref name="LaneStates"/> of them. With complex A the
    /// launch says which of B and C are constant, and there are few instances.
    /// </summary>
    private readonly record struct AnyScanVariant(DataType Type, int LaneStates, bool ConstantB, bool ConstantC, bool IsComplex = false)
    {
        private const int MostLaneStates = MaxStateSize / WarpThreads;

        public static IEnumerable<AnyScanVariant> Real =>
            from type in VectorVariant.ActivationTypes
            from power in Enumerable.Range(0, 4)
            from constantB in VectorVariant.Either
            from constantC in VectorVariant.Either
            select new AnyScanVariant(type, 1 << power, constantB, constantC);

        public static IEnumerable<AnyScanVariant> Complex =>
            from type in VectorVariant.ActivationTypes
            from states in new[] { 1, MaxStateSize }
            select ForComplex(type, states);

        public string Expression =>
            $"mamba::selective_scan_forward_any<{TypeName(Type)}, {NumberName(IsComplex)}, {LaneStates}, {Word(ConstantB)}, {Word(ConstantC)}>";

        public static AnyScanVariant For(DataType type, int states, bool constantB, bool constantC) =>
            new(type, LaneStatesOf(states), constantB, constantC);

        public static AnyScanVariant ForComplex(DataType type, int states) =>
            new(type, states <= WarpThreads ? 1 : MostLaneStates, ConstantB: false, ConstantC: false, IsComplex: true);

        public override string ToString() => $"any size, {LaneStates} a lane{(IsComplex ? ", complex" : "")}";
    }
}
