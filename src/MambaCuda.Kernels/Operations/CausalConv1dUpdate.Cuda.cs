using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private static readonly KernelFamily<ConvolutionVariant> CausalConv1dUpdateKernels = new(
        "causal_conv1d_update.cu",
        variant => $"mamba::causal_conv1d_update<{TypeName(variant.Vector.Type)}, {variant.Width}, {variant.Vector.Elements}>",
        ConvolutionVariant.All, inSteps: true);

    /// <inheritdoc/>
    protected override void CausalConv1dUpdateCore(in CausalConv1dForwardArgs args)
    {
        if (args.X.Columns == 0)
        {
            return;
        }

        ConvolutionVariant variant = ConvolutionVariantFor(args);
        Dim3 grid = new(args.Sequences.Count, DivideUp(args.X.Columns, ConvolutionThreads * variant.Vector.Elements));
        Launch(CausalConv1dUpdateKernels.Get(_library, variant), grid, ConvolutionThreads, new CausalConv1dUpdateParams
        {
            X = Address(args.X),
            Weight = Address(args.Weight),
            Bias = Address(args.Bias),
            State = Address(args.InitialState),
            NextState = Address(args.FinalState),
            Y = Address(args.Y),
            XStride = args.X.RowStride,
            WeightStride = args.Weight.RowStride,
            StateStride = args.InitialState.RowStride,
            NextStateStride = args.FinalState.RowStride,
            YStride = args.Y.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Channels = args.X.Columns,
            Silu = args.Silu ? 1 : 0,
        }, overlaps: true);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct CausalConv1dUpdateParams
    {
        public nint X;
        public nint Weight;
        public nint Bias;
        public nint State;
        public nint NextState;
        public nint Y;
        public long XStride;
        public long WeightStride;
        public long StateStride;
        public long NextStateStride;
        public long YStride;
        public SequenceTable Sequences;
        public int Channels;
        public int Silu;
    }
}
