using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in selective_state_update.cu.
    private const int UpdateLanes = 32;
    private const int UpdateParts = 4;
    private const int UpdateVec = 4;

    private static readonly KernelFamily<UpdateVariant> SelectiveStateUpdateKernels = new(
        "selective_state_update.cu", variant => variant.Expression, UpdateVariant.All, inSteps: true);

    /// <inheritdoc/>
    protected override void SelectiveStateUpdateCore(in SelectiveScanForwardArgs args)
    {
        int channels = args.U.Columns, states = (int)args.A.Rows;
        if (channels == 0)
        {
            return;
        }

        UpdateVariant variant = UpdateVariant.For(ActivationType, args);
        if (!variant.Constants && channels / args.Groups % UpdateVec == 0
            && AreAligned(UpdateVec * sizeof(float), args.InitialState, args.FinalState, args.A, args.D, args.DeltaBias)
            && AreAligned(UpdateVec * ActivationType.Size(), args.U, args.Delta, args.Z, args.Y))
        {
            variant = variant with { Vec = UpdateVec };
        }

        int blocks = DivideUp(channels, UpdateLanes * variant.Vec);
        Dim3 block = new(UpdateLanes, UpdateParts);
        CudaKernel kernel = SelectiveStateUpdateKernels.Get(_library, variant);
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
            State = Address(args.InitialState),
            NextState = Address(args.FinalState),
            Y = Address(args.Y),
            AImaginary = Address(args.AImaginary),
            UStride = args.U.RowStride,
            DeltaStride = args.Delta.RowStride,
            AStride = args.A.RowStride,
            BStride = args.B.RowStride,
            CStride = args.C.RowStride,
            ZStride = args.Z.RowStride,
            StateStride = args.InitialState.RowStride,
            NextStateStride = args.FinalState.RowStride,
            YStride = args.Y.RowStride,
            AImaginaryStride = args.AImaginary.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Channels = channels,
            GroupChannels = channels / args.Groups,
            BlocksOfSequence = blocks,
            States = states,
            DeltaSoftplus = args.DeltaSoftplus ? 1 : 0,
            ConstantB = args.ConstantB ? 1 : 0,
            ConstantC = args.ConstantC ? 1 : 0,
        }, overlaps: true);
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
        public nint NextState;
        public nint Y;
        public nint AImaginary;
        public long UStride;
        public long DeltaStride;
        public long AStride;
        public long BStride;
        public long CStride;
        public long ZStride;
        public long StateStride;
        public long NextStateStride;
        public long YStride;
        public long AImaginaryStride;
        public SequenceTable Sequences;
        public int Channels;
        public int GroupChannels;
        public int BlocksOfSequence;
        public int States;
        public int DeltaSoftplus;
        public int ConstantB;
        public int ConstantC;
    }

    /// <summary>An instance; those with constants take B and C of the input too, which complex A does.</summary>
    private readonly record struct UpdateVariant(DataType Type, bool IsComplex, bool Constants, int Vec)
    {
        public static IEnumerable<UpdateVariant> All =>
            from type in VectorVariant.ActivationTypes
            from (bool IsComplex, bool Constants, int Vec) kind in new[]
            {
                (false, false, 1), (false, false, UpdateVec), (false, true, 1), (true, true, 1),
            }
            select new UpdateVariant(type, kind.IsComplex, kind.Constants, kind.Vec);

        public string Expression => $"mamba::selective_state_update<{TypeName(Type)}, {NumberName(IsComplex)}, {Word(Constants)}, {Vec}>";

        public static UpdateVariant For(DataType type, in SelectiveScanForwardArgs args) =>
            new(type, args.IsComplex, args.IsComplex || args.ConstantB || args.ConstantC, 1);

        public override string ToString() =>
            IsComplex ? "complex" : Constants ? "constant B or C" : Vec == 1 ? "B and C of the input" : $"B and C of the input, {Vec} channels";
    }
}
