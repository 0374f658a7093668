using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // As in mamba/attention.cuh.
    private const int AttentionThreads = 128;
    private const int AttentionWarps = AttentionThreads / WarpThreads;

    // Keys of a tile, of which two are in shared memory.
    private const int AttentionTile = 64;

    // With fewer blocks, smaller ones are taken; either gives the same bits.
    private const int AttentionBlocksOfMultiprocessor = 4;

    private static readonly KernelFamily<AttentionVariant> AttentionForwardKernels = new(
        "attention_forward.cu",
        variant => $"mamba::attention_forward<{TypeName(variant.Type)}, {variant.HeadSize}, {variant.Down}>",
        from variant in AttentionVariant.All from down in new[] { 1, 2 } select variant with { Down = down });

    private static readonly KernelFamily<VectorVariant> AttentionForwardAnyKernels = new(
        "attention_forward.cu",
        variant => $"mamba::attention_forward_any<{TypeName(variant.Type)}>",
        VectorVariant.ActivationTypes.Select(type => new VectorVariant(type, Elements: 1)),
        describe: _ => "a warp a query");

    /// <inheritdoc/>
    protected override void AttentionForwardCore(in AttentionForwardArgs args)
    {
        AttentionForwardParams parameters = new()
        {
            Q = Address(args.Q),
            K = Address(args.K),
            V = Address(args.V),
            Y = Address(args.Y),
            LogSumExp = Address(args.LogSumExp),
            QStride = args.Q.RowStride,
            KStride = args.K.RowStride,
            VStride = args.V.RowStride,
            YStride = args.Y.RowStride,
            LogSumExpStride = args.LogSumExp.RowStride,
            Sequences = _sequenceTables.For(args.Sequences),
            HeadSize = args.HeadSize,
            Scale = args.ChosenScale,
        };
        if (!AttentionVariant.Fits(args.HeadSize, ActivationType) || !AreAligned(VectorVariant.Bytes, args.Q, args.K, args.V, args.Y))
        {
            CudaKernel any = AttentionForwardAnyKernels.Get(_library, new VectorVariant(ActivationType, Elements: 1));
            Launch(any, AttentionGrid(args, AttentionWarps), AttentionThreads, parameters, overlaps: true);
            return;
        }

        // Rows of a warp: 32 ask half as much of shared memory, 16 make twice as many blocks.
        bool isFew = AttentionGrid(args, AttentionWarps * 32) is { X: int x, Y: int y } && (long)x * y < AttentionBlocksOfMultiprocessor * Context.Device.MultiprocessorCount;
        AttentionVariant variant = new(ActivationType, args.HeadSize, isFew ? 1 : 2);
        int queries = AttentionWarps * 16 * variant.Down, shared = (queries + (4 * AttentionTile)) * args.HeadSize * ActivationType.Size();
        Launch(AttentionForwardKernels.Get(_library, variant), AttentionGrid(args, queries), AttentionThreads, parameters, shared, overlaps: true);
    }

    /// <summary>A row of blocks a head, of so many rows each; every sequence may end within one, see SequenceChunk in mamba/sequences.cuh.</summary>
    private static Dim3 AttentionGrid(in AttentionForwardArgs args, int rows) =>
        new(checked((int)((args.Sequences.TotalLength / rows) + args.Sequences.Count)), args.Heads);

    /// <summary>The heads that tensor cores take.</summary>
    private readonly record struct AttentionVariant(DataType Type, int HeadSize, int Down = 1)
    {
        public static IEnumerable<AttentionVariant> All { get; } =
            from type in new[] { DataType.BFloat16, DataType.Float16 } from headSize in new[] { 64, 128 } select new AttentionVariant(type, headSize);

        public static bool Fits(int headSize, DataType type) => headSize is 64 or 128 && type != DataType.Float32;

        public override string ToString() => $"mma {Down * 16 * AttentionWarps} x {HeadSize}";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AttentionForwardParams
    {
        public nint Q;
        public nint K;
        public nint V;
        public nint Y;
        public nint LogSumExp;
        public long QStride;
        public long KStride;
        public long VStride;
        public long YStride;
        public long LogSumExpStride;
        public SequenceTable Sequences;
        public int HeadSize;
        public float Scale;
    }
}
