using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int ConvolutionThreads = 64;
    private const int ConvolutionBytes = 8;
    private const int ConvolutionStepsAhead = 8;

    // Steps of a block, kChunk in causal_conv1d_forward.cu.
    private const int ConvolutionChunk = 32;

    private static readonly KernelFamily<(ConvolutionVariant Shape, bool Silu)> CausalConv1dForwardKernels = new(
        "causal_conv1d_forward.cu",
        variant => $"mamba::causal_conv1d_forward<{TypeName(variant.Shape.Vector.Type)}, {variant.Shape.Width}, {Word(variant.Silu)}, "
            + $"{variant.Shape.Vector.Elements}, {ConvolutionStepsAhead}>",
        from shape in ConvolutionVariant.All from silu in new[] { true, false } select (shape, silu),
        describe: variant => variant.Shape.ToString());

    /// <inheritdoc/>
    protected override void CausalConv1dForwardCore(in CausalConv1dForwardArgs args)
    {
        if (args.X.Columns == 0)
        {
            return;
        }

        ConvolutionVariant variant = ConvolutionVariantFor(args);
        int channelBlocks = DivideUp(args.X.Columns, ConvolutionThreads * variant.Vector.Elements);

        // Each sequence may end within a chunk; see SequenceChunk in the kernel.
        long chunks = (args.Sequences.TotalLength / ConvolutionChunk) + args.Sequences.Count;
        Dim3 grid = new(checked((int)chunks), channelBlocks);
        Launch(CausalConv1dForwardKernels.Get(_library, (variant, args.Silu)), grid, ConvolutionThreads, new CausalConv1dForwardParams
        {
            X = Address(args.X),
            Weight = Address(args.Weight),
            Bias = Address(args.Bias),
            InitialState = Address(args.InitialState),
            FinalState = Address(args.FinalState),
            Y = Address(args.Y),
            XStride = args.X.RowStride,
            WeightStride = args.Weight.RowStride,
            InitialStateStride = args.InitialState.RowStride,
            FinalStateStride = args.FinalState.RowStride,
            YStride = args.Y.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            Channels = args.X.Columns,
        }, overlaps: true);
    }

    private ConvolutionVariant ConvolutionVariantFor(in CausalConv1dForwardArgs args)
    {
        bool aligned = AreAligned(VectorVariant.Bytes, args.X, args.Weight, args.Bias, args.InitialState, args.FinalState, args.Y);
        return new ConvolutionVariant(VectorVariant.For(ActivationType, ConvolutionBytes, args.X.Columns, aligned), (int)args.Weight.Rows);
    }

    private readonly record struct ConvolutionVariant(VectorVariant Vector, int Width)
    {
        public static IEnumerable<ConvolutionVariant> All { get; } =
            from vector in VectorVariant.All(ConvolutionBytes) from width in new[] { 2, 3, 4 } select new ConvolutionVariant(vector, width);

        public override string ToString() => $"width {Width}, {Vector}";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct CausalConv1dForwardParams
    {
        public nint X;
        public nint Weight;
        public nint Bias;
        public nint InitialState;
        public nint FinalState;
        public nint Y;
        public long XStride;
        public long WeightStride;
        public long InitialStateStride;
        public long FinalStateStride;
        public long YStride;
        public SequenceTable Sequences;
        public int Channels;
    }
}
