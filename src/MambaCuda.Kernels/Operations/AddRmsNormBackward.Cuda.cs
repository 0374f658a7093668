using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // The blocks that a card of 132 multiprocessors runs at once, with 64 registers a thread. They cut the sum over rows, so they are the
    // same for every card; more would run in a second wave, and leave more to be added up.
    private const int NormMultiprocessors = 132;
    private const int NormThreadsOfMultiprocessor = 1024;
    private const int MostNormBlocksOfMultiprocessor = 16;

    private static readonly KernelFamily<AddRmsNormVariant> AddRmsNormBackwardKernels = new(
        "add_rms_norm_backward.cu",
        variant => $"mamba::add_rms_norm_backward<{TypeName(variant.Type)}, {Word(variant.Aligned)}, {Word(variant.InOnePass)}>",
        AddRmsNormVariant.All);

    /// <inheritdoc/>
    protected override void AddRmsNormBackwardCore(in AddRmsNormBackwardArgs args)
    {
        long rows = args.Residual.Rows;
        int channels = args.Residual.Columns;
        if (rows == 0 || channels == 0)
        {
            return;
        }

        int threads = NormThreads(channels);
        long rowsOfBlock = DivideUp(rows, NormBackwardBlocks(threads));
        int blocks = (int)DivideUp(rows, rowsOfBlock);
        nint partials = args.GradWeight.IsNone ? 0 : _scratch.Reserve((long)blocks * channels * sizeof(float));
        AddRmsNormVariant variant = new(
            ActivationType,
            channels % NormVector == 0
                && AreAligned(VectorVariant.Bytes, args.Residual, args.Weight, args.GradY, args.GradResidual, args.GradX, args.Y),
            channels <= MostNormThreads * NormVector);
        CudaKernel kernel = AddRmsNormBackwardKernels.Get(_library, variant);
        Launch(kernel, blocks, threads, new AddRmsNormBackwardParams
        {
            Residual = Address(args.Residual),
            Weight = Address(args.Weight),
            GradY = Address(args.GradY),
            GradResidual = Address(args.GradResidual),
            GradX = Address(args.GradX),
            Y = Address(args.Y),
            Partials = partials,
            ResidualStride = args.Residual.RowStride,
            GradYStride = args.GradY.RowStride,
            GradResidualStride = args.GradResidual.RowStride,
            GradXStride = args.GradX.RowStride,
            YStride = args.Y.RowStride,
            Rows = rows,
            RowsOfBlock = rowsOfBlock,
            Channels = channels,
            Epsilon = args.Epsilon,
        });
        SumPartials(channels, channels, blocks, add: true, (partials, args.GradWeight));
    }

    private static int NormBackwardBlocks(int threads) =>
        NormMultiprocessors * Math.Clamp(NormThreadsOfMultiprocessor / threads, 1, MostNormBlocksOfMultiprocessor);

    [StructLayout(LayoutKind.Sequential)]
    private struct AddRmsNormBackwardParams
    {
        public nint Residual;
        public nint Weight;
        public nint GradY;
        public nint GradResidual;
        public nint GradX;
        public nint Y;
        public nint Partials;
        public long ResidualStride;
        public long GradYStride;
        public long GradResidualStride;
        public long GradXStride;
        public long YStride;
        public long Rows;
        public long RowsOfBlock;
        public int Channels;
        public float Epsilon;
    }
}
