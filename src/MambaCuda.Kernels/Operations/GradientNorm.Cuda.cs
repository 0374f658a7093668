using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int GradientNormThreads = 256;

    // As in gradient_norm.cu, and as many steps as are worth a block of their own.
    private const int GradientNormVector = 4;
    private const int GradientNormSteps = 8;

    // More than any card holds at once. The number sets the order of the sum, so the card has no say in it.
    private const int MostGradientNormBlocks = 2048;

    private static readonly KernelFamily<bool> GradientNormKernels = new(
        "gradient_norm.cu", aligned => $"mamba::gradient_norm<{Word(aligned)}>", VectorVariant.Either,
        describe: aligned => "sums" + Placed(aligned));

    private static readonly KernelFamily<int> GradientNormFinishKernels = new(
        "gradient_norm.cu", _ => "mamba::gradient_norm_finish", [GradientNormThreads], describe: _ => "sum of sums");

    /// <inheritdoc/>
    protected override void GradientNormCore(in GradientNormArgs args)
    {
        const int PerBlock = GradientNormThreads * GradientNormVector * GradientNormSteps;
        long count = args.Gradients.Rows * args.Gradients.Columns;
        int blocks = (int)Math.Min(DivideUp(count, PerBlock), MostGradientNormBlocks);
        GradientNormParams parameters = new()
        {
            Gradients = Address(args.Gradients),
            Partial = _scratch.Reserve(MostGradientNormBlocks * sizeof(double)),
            Norm = Address(args.Norm),
            Count = count,
            Partials = blocks,
        };
        if (blocks > 0)
        {
            bool aligned = IsAligned(VectorVariant.Bytes, args.Gradients);
            Launch(GradientNormKernels.Get(_library, aligned), blocks, GradientNormThreads, parameters);
        }

        Launch(GradientNormFinishKernels.Get(_library, GradientNormThreads), 1, GradientNormThreads, parameters);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GradientNormParams
    {
        public nint Gradients;
        public nint Partial;
        public nint Norm;
        public long Count;
        public int Partials;
    }
}
