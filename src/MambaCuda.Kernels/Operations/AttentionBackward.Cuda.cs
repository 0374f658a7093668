using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private static readonly KernelFamily<AttentionInstance> AttentionBackwardQueryKernels = new(
        "attention_backward.cu",
        instance => $"mamba::attention_backward_query<{TypeName(instance.Type)}, {instance.HeadSize}>",
        AttentionInstance.All,
        describe: instance => $"queries mma {instance}");

    private static readonly KernelFamily<AttentionInstance> AttentionBackwardKeyKernels = new(
        "attention_backward.cu",
        instance => $"mamba::attention_backward_key<{TypeName(instance.Type)}, {instance.HeadSize}>",
        AttentionInstance.All,
        describe: instance => $"keys mma {instance}");

    private static readonly KernelFamily<VectorVariant> AttentionBackwardQueryAnyKernels = new(
        "attention_backward.cu",
        variant => $"mamba::attention_backward_query_any<{TypeName(variant.Type)}>",
        VectorVariant.ActivationTypes.Select(type => new VectorVariant(type, Elements: 1)),
        describe: _ => "a warp a query");

    private static readonly KernelFamily<VectorVariant> AttentionBackwardKeyAnyKernels = new(
        "attention_backward.cu",
        variant => $"mamba::attention_backward_key_any<{TypeName(variant.Type)}>",
        VectorVariant.ActivationTypes.Select(type => new VectorVariant(type, Elements: 1)),
        describe: _ => "a warp a key");

    /// <inheritdoc/>
    protected override void AttentionBackwardCore(in AttentionBackwardArgs args)
    {
        AttentionForwardArgs forward = args.Forward;
        long tokens = forward.Q.Rows;
        AttentionBackwardParams parameters = new()
        {
            Q = Address(forward.Q),
            K = Address(forward.K),
            V = Address(forward.V),
            Y = Address(forward.Y),
            GradY = Address(args.GradY),
            LogSumExp = Address(forward.LogSumExp),
            Delta = _scratch.Reserve(forward.Heads * tokens * sizeof(float)),
            GradQ = Address(args.GradQ),
            GradK = Address(args.GradK),
            GradV = Address(args.GradV),
            QStride = forward.Q.RowStride,
            KStride = forward.K.RowStride,
            VStride = forward.V.RowStride,
            YStride = forward.Y.RowStride,
            GradYStride = args.GradY.RowStride,
            LogSumExpStride = forward.LogSumExp.RowStride,
            DeltaStride = tokens,
            GradQStride = args.GradQ.RowStride,
            GradKStride = args.GradK.RowStride,
            GradVStride = args.GradV.RowStride,
            Sequences = _sequenceTables.For(forward.Sequences),
            HeadSize = forward.HeadSize,
            Scale = forward.ChosenScale,
        };
        bool aligned = AreAligned(
            VectorVariant.Bytes, forward.Q, forward.K, forward.V, forward.Y, args.GradY, args.GradQ, args.GradK, args.GradV);
        if (!aligned || !AttentionInstance.Fits(forward.HeadSize, ActivationType))
        {
            VectorVariant any = new(ActivationType, Elements: 1);
            Dim3 blocks = AttentionGrid(forward, AttentionWarps);
            Launch(AttentionBackwardQueryAnyKernels.Get(_library, any), blocks, AttentionThreads, parameters, overlaps: true);
            Launch(AttentionBackwardKeyAnyKernels.Get(_library, any), blocks, AttentionThreads, parameters, overlaps: true);
            return;
        }

        // What a block keeps, and twice what it walks; with the queries that are walked their log-sum-exp and delta.
        AttentionInstance instance = new(ActivationType, forward.HeadSize);
        int tile = AttentionTile * forward.HeadSize * ActivationType.Size(), numbers = 2 * AttentionTile * sizeof(float);
        Dim3 grid = AttentionGrid(forward, AttentionTile);
        Launch(AttentionBackwardQueryKernels.Get(_library, instance), grid, AttentionThreads, parameters, 6 * tile, overlaps: true);
        Launch(
            AttentionBackwardKeyKernels.Get(_library, instance), grid, AttentionThreads, parameters, (6 * tile) + (2 * numbers), overlaps: true);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AttentionBackwardParams
    {
        public nint Q;
        public nint K;
        public nint V;
        public nint Y;
        public nint GradY;
        public nint LogSumExp;
        public nint Delta;
        public nint GradQ;
        public nint GradK;
        public nint GradV;
        public long QStride;
        public long KStride;
        public long VStride;
        public long YStride;
        public long GradYStride;
        public long LogSumExpStride;
        public long DeltaStride;
        public long GradQStride;
        public long GradKStride;
        public long GradVStride;
        public SequenceTable Sequences;
        public int HeadSize;
        public float Scale;
    }
}
