using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // Channels of a thread, as in add_rms_norm_forward.cu.
    private const int NormVector = 8;
    private const int MostNormThreads = 1024;

    private static readonly KernelFamily<AddRmsNormVariant> AddRmsNormForwardKernels = new(
        "add_rms_norm_forward.cu",
        variant => $"mamba::add_rms_norm_forward<{TypeName(variant.Type)}, {Word(variant.Aligned)}, {Word(variant.InOnePass)}>",
        AddRmsNormVariant.All, inSteps: true);

    /// <inheritdoc/>
    protected override void AddRmsNormForwardCore(in AddRmsNormForwardArgs args)
    {
        int channels = args.Residual.Columns;
        if (args.Residual.Rows == 0 || channels == 0)
        {
            return;
        }

        int threads = NormThreads(channels);
        AddRmsNormVariant variant = new(
            ActivationType,
            channels % NormVector == 0 && AreAligned(VectorVariant.Bytes, args.X, args.Residual, args.ResidualOut, args.Weight, args.Y),
            channels <= MostNormThreads * NormVector);
        Launch(AddRmsNormForwardKernels.Get(_library, variant), checked((int)args.Residual.Rows), threads, new AddRmsNormForwardParams
        {
            X = Address(args.X),
            Residual = Address(args.Residual),
            Weight = Address(args.Weight),
            ResidualOut = Address(args.ResidualOut),
            Y = Address(args.Y),
            XStride = args.X.RowStride,
            ResidualStride = args.Residual.RowStride,
            ResidualOutStride = args.ResidualOut.RowStride,
            YStride = args.Y.RowStride,
            Channels = channels,
            Epsilon = args.Epsilon,
        }, overlaps: true);
    }

    /// <summary>
    /// One block size for a number of channels, whatever the alignment: it sets the order of the sum, which is the backward pass's too.
    /// </summary>
    private static int NormThreads(int channels) => Math.Min(RoundUp(DivideUp(channels, NormVector), WarpThreads), MostNormThreads);

    private readonly record struct AddRmsNormVariant(DataType Type, bool Aligned, bool InOnePass)
    {
        public static IEnumerable<AddRmsNormVariant> All =>
            from type in VectorVariant.ActivationTypes
            from aligned in VectorVariant.Either
            from inOnePass in VectorVariant.Either
            select new AddRmsNormVariant(type, aligned, inOnePass);

        public override string ToString() => (InOnePass ? "one pass" : "two passes") + Placed(Aligned);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AddRmsNormForwardParams
    {
        public nint X;
        public nint Residual;
        public nint Weight;
        public nint ResidualOut;
        public nint Y;
        public long XStride;
        public long ResidualStride;
        public long ResidualOutStride;
        public long YStride;
        public int Channels;
        public float Epsilon;
    }
}
