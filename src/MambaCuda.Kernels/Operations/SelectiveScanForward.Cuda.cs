using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int AnyScanThreads = 128;
    private const int ChunkThreads = 128;

    private readonly KernelFamily<ScanVariant> _scan = new("selective_scan_forward.cu", variant => variant.Expression);
    private readonly KernelFamily<AnyScanVariant> _scanAny = new("selective_scan_forward.cu", variant => variant.Expression);
    private readonly KernelFamily<int> _scanChunks = new("selective_scan_forward.cu", threads => $"mamba::selective_scan_chunks<{threads}>");

    /// <inheritdoc/>
    protected override void SelectiveScanForwardCore(in SelectiveScanForwardArgs args)
    {
        int channels = args.U.Columns, states = (int)args.A.Rows;
        if (channels == 0)
        {
            return;
        }

        int groups = args.ConstantB && args.ConstantC ? 1 : (args.ConstantB ? args.C : args.B).Columns / states;
        ScanPlan? plan = args.ConstantB || args.ConstantC
            ? null
            : ScanPlan.For(
                states, args.Sequences, channels / groups, groups, Context.Device.MultiprocessorCount, _library.MaxSharedBytes, _options.BatchInvariant);
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
            Y = Address(args.Y),
            UStride = args.U.RowStride,
            DeltaStride = args.Delta.RowStride,
            AStride = args.A.RowStride,
            BStride = args.B.RowStride,
            CStride = args.C.RowStride,
            ZStride = args.Z.RowStride,
            InitialStride = args.InitialState.RowStride,
            FinalStride = args.FinalState.RowStride,
            YStride = args.Y.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Chunks = 1,
            Channels = channels,
            GroupChannels = channels / groups,
            States = states,
            DeltaSoftplus = args.DeltaSoftplus ? 1 : 0,
        };
        if (plan is { } chosen)
        {
            ScanInTiles(args, chosen, groups, parameters);
            return;
        }

        parameters.BlocksOfSequence = DivideUp(channels, AnyScanThreads / 32);
        AnyScanVariant variant = AnyScanVariant.For(ActivationType, states, args.ConstantB, args.ConstantC);
        Launch(_scanAny.Get(_library, variant), checked(parameters.BlocksOfSequence * args.Sequences.Count), AnyScanThreads, parameters);
    }

    private void ScanInTiles(in SelectiveScanForwardArgs args, in ScanPlan plan, int groups, SelectiveScanForwardParams parameters)
    {
        ScanShape shape = plan.Shape;
        bool aligned = parameters.GroupChannels % shape.Piece == 0 && AreAligned(16, args.U, args.Delta, args.B, args.C, args.Z, args.Y);
        CudaKernel whole = _scan.Get(_library, new ScanVariant(ActivationType, shape, EndState: false, aligned));
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
        CudaKernel ends = _scan.Get(_library, new ScanVariant(ActivationType, shape, EndState: true, aligned));
        Launch(ends, grid, shape.Threads, parameters, shape.SharedBytes);
        Dim3 states = new(DivideUp(parameters.Channels, ChunkThreads), parameters.States, args.Sequences.Count);
        Launch(_scanChunks.Get(_library, ChunkThreads), states, ChunkThreads, chunks);
        parameters.InitialState = chunkStates;
        parameters.FinalState = 0;
        Launch(whole, grid, shape.Threads, parameters, shape.SharedBytes);
    }

    private static int DivideUp(long dividend, long divisor) => checked((int)((dividend + divisor - 1) / divisor));

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
        public nint Y;
        public long UStride;
        public long DeltaStride;
        public long AStride;
        public long BStride;
        public long CStride;
        public long ZStride;
        public long InitialStride;
        public long FinalStride;
        public long YStride;
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
    }

    /// <summary>An instance of the kernel that scans in tiles.</summary>
    private readonly record struct ScanVariant(DataType Type, ScanShape Shape, bool EndState, bool Aligned)
    {
        public string Expression =>
            $"mamba::selective_scan_forward<{TypeName(Type)}, {Shape.Expression}, mamba::ScanPart::{(EndState ? "end_state" : "whole")}, {Word(Aligned)}>";
    }

    /// <summary>An instance of the kernel for every state size; each lane of a warp has <paramref name="LaneStates"/> of them.</summary>
    private readonly record struct AnyScanVariant(DataType Type, int LaneStates, bool ConstantB, bool ConstantC)
    {
        public string Expression =>
            $"mamba::selective_scan_forward_any<{TypeName(Type)}, {LaneStates}, {Word(ConstantB)}, {Word(ConstantC)}>";

        public static AnyScanVariant For(DataType type, int states, bool constantB, bool constantC) =>
            new(type, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)DivideUp(states, 32)), constantB, constantC);
    }
}
