using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int MostCrossEntropyThreads = 1024;

    // Steps of a thread whose logits stay in registers; with LogitVector logits each that is as many as leave every thread its registers.
    private const int CrossEntropyHeldSteps = 4;

    private static readonly KernelFamily<CrossEntropyVariant> CrossEntropyKernels = new(
        "cross_entropy.cu",
        variant => $"mamba::cross_entropy<{TypeName(variant.Type)}, {Word(variant.Aligned)}, {variant.HeldSteps}>",
        from type in VectorVariant.ActivationTypes
        from aligned in VectorVariant.Either
        from heldSteps in new[] { CrossEntropyHeldSteps, 0 }
        select new CrossEntropyVariant(type, aligned, heldSteps));

    /// <inheritdoc/>
    protected override void CrossEntropyCore(in CrossEntropyArgs args)
    {
        if (args.Logits.Rows == 0)
        {
            return;
        }

        // One block size for a vocabulary, whatever the alignment: it sets the order of the sum. A row without columns has no right target
        // either, and is looked at like others.
        const int PerThread = LogitVector * CrossEntropyHeldSteps;
        int threads = Math.Clamp(
            RoundUp(DivideUp(args.Logits.Columns, PerThread), WarpThreads), WarpThreads, MostCrossEntropyThreads);
        CrossEntropyVariant variant = new(
            ActivationType,
            AreAligned(VectorVariant.Bytes, args.Logits) && AreAligned(LogitVector * ActivationType.Size(), args.GradLogits),
            args.Logits.Columns <= MostCrossEntropyThreads * PerThread ? CrossEntropyHeldSteps : 0);
        Launch(CrossEntropyKernels.Get(_library, variant), checked((int)args.Logits.Rows), threads, new CrossEntropyParams
        {
            Logits = Address(args.Logits),
            Targets = Address(args.Targets),
            Losses = Address(args.Losses),
            GradLogits = Address(args.GradLogits),
            Fault = _faults.DeviceAddress,
            LogitsStride = args.Logits.RowStride,
            TargetsStride = args.Targets.RowStride,
            LossesStride = args.Losses.RowStride,
            GradLogitsStride = args.GradLogits.RowStride,
            Vocabulary = args.Logits.Columns,
            ZLossWeight = args.ZLossWeight,
            GradScale = args.GradScale,
        });
    }

    private readonly record struct CrossEntropyVariant(DataType Type, bool Aligned, int HeldSteps)
    {
        public override string ToString() => (HeldSteps > 0 ? "one pass" : "two passes") + Placed(Aligned);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct CrossEntropyParams
    {
        public nint Logits;
        public nint Targets;
        public nint Losses;
        public nint GradLogits;
        public nint Fault;
        public long LogitsStride;
        public long TargetsStride;
        public long LossesStride;
        public long GradLogitsStride;
        public int Vocabulary;
        public float ZLossWeight;
        public float GradScale;
    }
}
