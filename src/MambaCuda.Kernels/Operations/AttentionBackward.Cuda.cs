using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in attention_backward.cu.
    private const int WgmmaBackwardRows = 128;
    private const int WgmmaBackwardThreads = 256;

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

    private static readonly KernelFamily<AttentionInstance> AttentionBackwardQueryWgmmaKernels = new(
        "attention_backward.cu",
        instance => $"mamba::attention_backward_query_wgmma<{TypeName(instance.Type)}, {instance.HeadSize}, {KeysOfWgmma(instance.HeadSize)}>",
        from instance in AttentionInstance.All select instance with { Queries = WgmmaBackwardRows },
        suffix: "a",
        describe: instance => $"queries wgmma {instance}");

    private static readonly KernelFamily<AttentionInstance> AttentionBackwardKeyWgmmaKernels = new(
        "attention_backward.cu",
        instance => $"mamba::attention_backward_key_wgmma<{TypeName(instance.Type)}, {instance.HeadSize}>",
        from instance in AttentionInstance.All select instance with { Queries = WgmmaBackwardRows },
        suffix: "a",
        describe: instance => $"keys wgmma {instance}");

    /// <summary>
    /// The ways in which the gradients of attention can be computed here, each of which gives the same result up to rounding; the fastest first,
    /// whatever the number of tokens.
    /// </summary>
    public IReadOnlyList<AttentionVariant> AttentionVariants(in AttentionBackwardArgs args)
    {
        AttentionForwardArgs forward = args.Forward;
        List<AttentionVariant> all = [];
        if (AttentionInstance.Fits(forward.HeadSize, ActivationType) && AreAligned(
            VectorVariant.Bytes, forward.Q, forward.K, forward.V, forward.Y, args.GradY, args.GradQ, args.GradK, args.GradV))
        {
            if (HaveWgmma)
            {
                all.Add(new AttentionVariant(AttentionKernel.Wgmma, WgmmaBackwardRows));
            }

            all.Add(new AttentionVariant(AttentionKernel.Mma, AttentionTile));
            all.RemoveAll(variant => KeySharedBytes(variant, forward.HeadSize) > _library.MaxSharedBytes
                || QuerySharedBytes(variant, forward.HeadSize) > _library.MaxSharedBytes);
        }

        all.Add(new AttentionVariant(AttentionKernel.Any, AttentionWarps));
        return all;
    }

    /// <inheritdoc/>
    protected override void AttentionBackwardCore(in AttentionBackwardArgs args) => AttentionBackward(args, AttentionVariants(args)[0]);

    /// <summary>The gradients in one of the ways that <see cref="AttentionVariants(in AttentionBackwardArgs)"/> lists for these operands.</summary>
    public void AttentionBackward(in AttentionBackwardArgs args, AttentionVariant variant)
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
        Dim3 grid = AttentionGrid(forward, variant.Queries);
        AttentionInstance instance = new(ActivationType, forward.HeadSize, variant.Queries);
        VectorVariant any = new(ActivationType, Elements: 1);
        (CudaKernel queries, CudaKernel keys) = variant.Kernel switch
        {
            AttentionKernel.Wgmma =>
                (AttentionBackwardQueryWgmmaKernels.Get(_library, instance), AttentionBackwardKeyWgmmaKernels.Get(_library, instance)),
            AttentionKernel.Mma => (AttentionBackwardQueryKernels.Get(_library, instance), AttentionBackwardKeyKernels.Get(_library, instance)),
            _ => (AttentionBackwardQueryAnyKernels.Get(_library, any), AttentionBackwardKeyAnyKernels.Get(_library, any)),
        };
        int threads = variant.Kernel == AttentionKernel.Wgmma ? WgmmaBackwardThreads : AttentionThreads;
        Launch(queries, grid, threads, parameters, QuerySharedBytes(variant, forward.HeadSize), overlaps: true);
        Launch(keys, grid, threads, parameters, KeySharedBytes(variant, forward.HeadSize), overlaps: true);
    }

    // Two operands that a block keeps, and two tiles of the two that it walks.
    private int QuerySharedBytes(AttentionVariant variant, int headSize) => headSize * ActivationType.Size() * variant.Kernel switch
    {
        AttentionKernel.Wgmma => (2 * variant.Queries) + (4 * KeysOfWgmma(headSize)),
        AttentionKernel.Mma => (2 * variant.Queries) + (4 * AttentionTile),
        _ => 0,
    };

    // The same, and the log-sum-exp and delta of the queries that are walked.
    private int KeySharedBytes(AttentionVariant variant, int headSize) => variant.Kernel == AttentionKernel.Any
        ? 0
        : (headSize * ActivationType.Size() * ((2 * variant.Queries) + (4 * AttentionTile))) + (4 * AttentionTile * sizeof(float));

    // For scores and slopes of 128 keys beside the sums of heads of 128 there are too few registers.
    private static int KeysOfWgmma(int headSize) => headSize == 64 ? 128 : 64;

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
