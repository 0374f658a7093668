using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int MostCrossEntropyThreads = 1024;

    // Steps of a thread whose logits stay in registers; with LogitVector logits each that is as many as leave every thread its registers.
    private const int CrossEntropyHeldSteps = 4;

    // What cross_entropy_of_rows has in shared memory beside the row.
    private const int CrossEntropySumBytes = 2 * WarpThreads * 2 * sizeof(float);

    private static readonly KernelFamily<CrossEntropyVariant> CrossEntropyKernels = new(
        "cross_entropy.cu",
        variant => $"mamba::cross_entropy<{TypeName(variant.Type)}, {Word(variant.Aligned)}, {variant.HeldSteps}>",
        from type in VectorVariant.ActivationTypes
        from aligned in VectorVariant.Either
        from heldSteps in new[] { CrossEntropyHeldSteps, 0 }
        select new CrossEntropyVariant(type, aligned, heldSteps));

    private static readonly KernelFamily<VectorVariant> CrossEntropyOfRowsKernels = new(
        "cross_entropy.cu",
        variant => $"mamba::cross_entropy_of_rows<{TypeName(variant.Type)}>",
        VectorVariant.ActivationTypes.Select(type => new VectorVariant(type, LogitVector)),
        describe: _ => "rows in shared memory");

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
        bool aligned = AreAligned(VectorVariant.Bytes, args.Logits) && AreAligned(LogitVector * ActivationType.Size(), args.GradLogits);
        int rows = checked((int)args.Logits.Rows);
        CrossEntropyParams parameters = new()
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
            Rows = rows,
            Vocabulary = args.Logits.Columns,
            ZLossWeight = args.ZLossWeight,
            GradScale = args.GradScale,
        };
        bool isHeld = args.Logits.Columns <= MostCrossEntropyThreads * PerThread;
        long rowBytes = RoundUp(args.Logits.Columns, threads * LogitVector) * (long)sizeof(float);
        if (!isHeld && aligned && !args.GradLogits.IsNone && rowBytes + CrossEntropySumBytes <= _library.MaxSharedBytes)
        {
            CudaKernel ofRows = CrossEntropyOfRowsKernels.Get(_library, new VectorVariant(ActivationType, LogitVector));
            Launch(ofRows, Math.Min(rows, Context.Device.MultiprocessorCount), threads, parameters, (int)rowBytes);
            return;
        }

        CrossEntropyVariant variant = new(ActivationType, aligned, isHeld ? CrossEntropyHeldSteps : 0);
        Launch(CrossEntropyKernels.Get(_library, variant), rows, threads, parameters);
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
        public long Rows;
        public int Vocabulary;
        public float ZLossWeight;
        public float GradScale;
    }
}
