using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int AdamWThreads = 256;

    // As in adam_w.cu.
    private const int AdamWVector = 4;

    // Blocks of a multiprocessor: as many as it holds, and each goes on to what is left.
    private const int AdamWResident = 8;

    private static readonly KernelFamily<AdamWVariant> AdamWKernels = new(
        "adam_w.cu",
        variant => $"mamba::adam_w<{TypeName(variant.Rounded)}, {Word(variant.Aligned)}>",
        from rounded in VectorVariant.ActivationTypes from aligned in VectorVariant.Either select new AdamWVariant(rounded, aligned));

    /// <inheritdoc/>
    protected override void AdamWCore(in AdamWArgs args)
    {
        const int PerBlock = AdamWThreads * AdamWVector;
        long count = args.Parameters.Rows * args.Parameters.Columns;
        if (count == 0)
        {
            return;
        }

        DataType rounded = args.Rounded.IsNone ? DataType.Float32 : args.Rounded.Type;
        AdamWVariant variant = new(
            rounded,
            IsAligned(VectorVariant.Bytes, args.Parameters, args.Gradients, args.FirstMoment, args.SecondMoment)
                && IsAligned(AdamWVector * rounded.Size(), args.Rounded));
        int blocks = (int)Math.Min(DivideUp(count, PerBlock), AdamWResident * Context.Device.MultiprocessorCount);

        // The factors of the step in float64, as the CPU has them.
        Launch(AdamWKernels.Get(_library, variant), blocks, AdamWThreads, new AdamWParams
        {
            Parameters = Address(args.Parameters),
            Gradients = Address(args.Gradients),
            FirstMoment = Address(args.FirstMoment),
            SecondMoment = Address(args.SecondMoment),
            Rounded = Address(args.Rounded),
            Norm = Address(args.GradientNorm),
            StoredFactors = Address(args.Factors),
            Count = count,
            GradientScale = args.GradientScale,
            MaxNorm = args.MaxGradientNorm,
            Factors = args.Factors.IsNone ? AdamWFactors.Of(args) : default,
            FirstShare = (float)(1 - (double)args.Beta1),
            Beta2 = args.Beta2,
            SecondShare = (float)(1 - (double)args.Beta2),
            Epsilon = args.Epsilon,
        });
    }

    private readonly record struct AdamWVariant(DataType Rounded, bool Aligned)
    {
        public override string ToString() => Aligned ? "vectors" : "single elements";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AdamWParams
    {
        public nint Parameters;
        public nint Gradients;
        public nint FirstMoment;
        public nint SecondMoment;
        public nint Rounded;
        public nint Norm;
        public nint StoredFactors;
        public long Count;
        public double GradientScale;
        public AdamWFactors Factors;
        public float MaxNorm;
        public float FirstShare;
        public float Beta2;
        public float SecondShare;
        public float Epsilon;
    }
}
