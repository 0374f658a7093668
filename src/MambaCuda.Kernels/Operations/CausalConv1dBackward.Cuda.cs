using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // kConvolutionBackwardThreads in causal_conv1d_backward.cu. Blocks of half as many take a third longer.
    private const int ConvolutionBackwardBlockThreads = 128;

    // More do not fit into the 128 registers that a thread has where 512 share a multiprocessor.
    private const int ConvolutionBackwardStepsAhead = 5;

    // The threads that a card of 132 multiprocessors runs at once. A chunk cuts the sums over tokens, so it is the same for every card.
    private const int ConvolutionBackwardThreads = 132 * 512;

    // What a chunk costs beside its own steps, in steps: those in the next chunk, and the wait for the first.
    private const int StepsOfChunkBegin = 6;

    private static readonly KernelFamily<(ConvolutionVariant Shape, bool Silu, bool More)> CausalConv1dBackwardKernels = new(
        "causal_conv1d_backward.cu",
        variant => $"mamba::causal_conv1d_backward<{TypeName(variant.Shape.Vector.Type)}, {variant.Shape.Width}, {Word(variant.Silu)}, "
            + $"{Word(variant.More)}, {variant.Shape.Vector.Elements}, {ConvolutionBackwardStepsAhead}>",
        from shape in ConvolutionVariant.All
        from silu in VectorVariant.Either
        from more in VectorVariant.Either
        select (shape, silu, more),
        describe: variant => $"{variant.Shape}{(variant.More ? ", two gradients" : "")}");

    private static readonly KernelFamily<(ConvolutionVariant Shape, bool Silu)> CausalConv1dStateBackwardKernels = new(
        "causal_conv1d_backward.cu",
        variant => "mamba::causal_conv1d_state_backward<"
            + $"{TypeName(variant.Shape.Vector.Type)}, {variant.Shape.Width}, {Word(variant.Silu)}>",
        from shape in ConvolutionVariant.All
        where shape.Vector.Elements == 1
        from silu in VectorVariant.Either
        select (shape, silu),
        describe: variant => $"state of width {variant.Shape.Width}");

    /// <inheritdoc/>
    protected override void CausalConv1dBackwardCore(in CausalConv1dBackwardArgs args)
    {
        CausalConv1dForwardArgs forward = args.Forward;
        int channels = forward.X.Columns, width = (int)forward.Weight.Rows;
        if (channels == 0)
        {
            return;
        }

        int chunk = ConvolutionBackwardChunk(forward.Sequences.TotalLength, channels);

        // Each sequence may end within a chunk; see SequenceChunk in mamba/sequences.cuh.
        int chunks = checked((int)((forward.Sequences.TotalLength / chunk) + forward.Sequences.Count));
        long sums = (width + 1L) * channels;
        bool hasSums = !args.GradWeight.IsNone || !args.GradBias.IsNone;
        CausalConv1dBackwardParams parameters = new()
        {
            X = Address(forward.X),
            Weight = Address(forward.Weight),
            Bias = Address(forward.Bias),
            InitialState = Address(forward.InitialState),
            GradY = Address(args.GradY),
            MoreGradY = Address(args.MoreGradY),
            GradFinalState = Address(args.GradFinalState),
            GradX = Address(args.GradX),
            GradInitialState = Address(args.GradInitialState),
            Partials = hasSums ? _scratch.Reserve(chunks * sums * sizeof(float)) : 0,
            XStride = forward.X.RowStride,
            WeightStride = forward.Weight.RowStride,
            InitialStateStride = forward.InitialState.RowStride,
            GradYStride = args.GradY.RowStride,
            MoreGradYStride = args.MoreGradY.RowStride,
            GradFinalStateStride = args.GradFinalState.RowStride,
            GradXStride = args.GradX.RowStride,
            GradInitialStateStride = args.GradInitialState.RowStride,
            Sequences = _sequenceTables.For(forward.Sequences),
            Channels = channels,
            Chunk = chunk,
        };
        if (hasSums || !args.GradX.IsNone)
        {
            bool aligned = AreAligned(
                VectorVariant.Bytes,
                forward.X,
                forward.Weight,
                forward.Bias,
                forward.InitialState,
                args.GradY,
                args.MoreGradY,
                args.GradFinalState,
                args.GradX);
            ConvolutionVariant variant = new(VectorVariant.For(ActivationType, ConvolutionBytes, channels, aligned), width);
            Dim3 grid = new(chunks, DivideUp(channels, ConvolutionBackwardBlockThreads * variant.Vector.Elements));
            CudaKernel kernel = CausalConv1dBackwardKernels.Get(_library, (variant, forward.Silu, !args.MoreGradY.IsNone));
            Launch(kernel, grid, ConvolutionBackwardBlockThreads, parameters, pieces: chunks);
            nint ofBias = parameters.Partials + ((nint)width * channels * sizeof(float));
            SumPartials(sums, channels, chunks, add: true, (parameters.Partials, args.GradWeight), (ofBias, args.GradBias));
        }

        if (!args.GradInitialState.IsNone)
        {
            // After the gradient of the final state was read, whose place it may take.
            ConvolutionVariant variant = new(new VectorVariant(ActivationType, Elements: 1), width);
            Dim3 grid = new(forward.Sequences.Count, DivideUp(channels, ConvolutionBackwardBlockThreads));
            CudaKernel kernel = CausalConv1dStateBackwardKernels.Get(_library, (variant, forward.Silu));
            Launch(kernel, grid, ConvolutionBackwardBlockThreads, parameters);
        }
    }

    /// <summary>
    /// Steps of a block. Long chunks leave fewer sums and read less twice; short ones fill the card, and leave less of it idle while the
    /// last blocks run. From shapes alone, and not from how operands lie, since it cuts the sums.
    /// </summary>
    private int ConvolutionBackwardChunk(long tokens, int channels)
    {
        const int Shortest = 16, Longest = 1024;
        int threads = DivideUp(channels, ConvolutionBytes / ActivationType.Size());
        int best = Shortest;
        double most = 0;
        for (int chunk = Shortest; chunk <= Longest; chunk *= 2)
        {
            double waves = (double)DivideUp(tokens, chunk) * threads / ConvolutionBackwardThreads;
            double share = waves / Math.Ceiling(waves) * chunk / (chunk + StepsOfChunkBegin);
            (best, most) = share > most ? (chunk, share) : (best, most);
        }

        return best;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct CausalConv1dBackwardParams
    {
        public nint X;
        public nint Weight;
        public nint Bias;
        public nint InitialState;
        public nint GradY;
        public nint MoreGradY;
        public nint GradFinalState;
        public nint GradX;
        public nint GradInitialState;
        public nint Partials;
        public long XStride;
        public long WeightStride;
        public long InitialStateStride;
        public long GradYStride;
        public long MoreGradYStride;
        public long GradFinalStateStride;
        public long GradXStride;
        public long GradInitialStateStride;
        public SequenceTable Sequences;
        public int Channels;
        public int Chunk;
    }
}
