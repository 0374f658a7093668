using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in selective_state_update.cu.
    private const int UpdateChannels = 32;
    private const int UpdateParts = 4;

    private static readonly KernelFamily<UpdateVariant> SelectiveStateUpdateKernels = new(
        "selective_state_update.cu", variant => variant.Expression, UpdateVariant.All);

    /// <inheritdoc/>
    protected override void SelectiveStateUpdateCore(in SelectiveScanForwardArgs args)
    {
        int channels = args.U.Columns, states = (int)args.A.Rows;
        if (channels == 0)
        {
            return;
        }

        int groups = args.Groups;
        int blocks = DivideUp(channels, UpdateChannels);
        Dim3 block = new(UpdateChannels, UpdateParts);
        CudaKernel kernel = SelectiveStateUpdateKernels.Get(_library, new UpdateVariant(ActivationType, args.ConstantB, args.ConstantC));
        Launch(kernel, checked(blocks * args.Sequences.Count), block, new SelectiveStateUpdateParams
        {
            U = Address(args.U),
            Delta = Address(args.Delta),
            A = Address(args.A),
            B = Address(args.B),
            C = Address(args.C),
            D = Address(args.D),
            Z = Address(args.Z),
            DeltaBias = Address(args.DeltaBias),
            State = Address(args.FinalState),
            Y = Address(args.Y),
            UStride = args.U.RowStride,
            DeltaStride = args.Delta.RowStride,
            AStride = args.A.RowStride,
            BStride = args.B.RowStride,
            CStride = args.C.RowStride,
            ZStride = args.Z.RowStride,
            StateStride = args.FinalState.RowStride,
            YStride = args.Y.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Channels = channels,
            GroupChannels = channels / groups,
            BlocksOfSequence = blocks,
            States = states,
            DeltaSoftplus = args.DeltaSoftplus ? 1 : 0,
        });
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SelectiveStateUpdateParams
    {
        public nint U;
        public nint Delta;
        public nint A;
        public nint B;
        public nint C;
        public nint D;
        public nint Z;
        public nint DeltaBias;
        public nint State;
        public nint Y;
        public long UStride;
        public long DeltaStride;
        public long AStride;
        public long BStride;
        public long CStride;
        public long ZStride;
        public long StateStride;
        public long YStride;
        public SequenceTable Sequences;
        public int Channels;
        public int GroupChannels;
        public int BlocksOfSequence;
        public int States;
        public int DeltaSoftplus;
    }

    private readonly record struct UpdateVariant(DataType Type, bool ConstantB, bool ConstantC)
    {
        public static IEnumerable<UpdateVariant> All =>
            from type in VectorVariant.ActivationTypes
            from constantB in VectorVariant.Either
            from constantC in VectorVariant.Either
            select new UpdateVariant(type, constantB, constantC);

        public string Expression => $"mamba::selective_state_update<{TypeName(Type)}, {Word(ConstantB)}, {Word(ConstantC)}>";

        public override string ToString() => (ConstantB, ConstantC) switch
        {
            (true, true) => "constant B and C",
            (true, false) => "constant B",
            (false, true) => "constant C",
            _ => "B and C of the input",
        };
    }
}
