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
    private const int WgmmaAttentionTile = 128;

    // With fewer blocks of mma.sync, smaller ones are taken; either gives the same bits.
    private const int AttentionBlocksOfMultiprocessor = 4;

    private static readonly KernelFamily<AttentionInstance> AttentionForwardKernels = new(
        "attention_forward.cu",
        instance => $"mamba::attention_forward<{TypeName(instance.Type)}, {instance.HeadSize}, {instance.Queries / (16 * AttentionWarps)}>",
        from instance in AttentionInstance.All from queries in AttentionInstance.MmaQueries select instance with { Queries = queries },
        describe: instance => $"mma {instance}");

    private static readonly KernelFamily<AttentionInstance> AttentionForwardWgmmaKernels = new(
        "attention_forward.cu",
        instance => $"mamba::attention_forward_wgmma<{TypeName(instance.Type)}, {instance.HeadSize}>",
        from instance in AttentionInstance.All select instance with { Queries = AttentionInstance.WgmmaQueries },
        suffix: "a",
        describe: instance => $"wgmma {instance}");

    private static readonly KernelFamily<VectorVariant> AttentionForwardAnyKernels = new(
        "attention_forward.cu",
        variant => $"mamba::attention_forward_any<{TypeName(variant.Type)}>",
        VectorVariant.ActivationTypes.Select(type => new VectorVariant(type, Elements: 1)),
        describe: _ => "a warp a query");

    /// <summary>The ways in which attention can be computed here, each of which gives the same result up to rounding; the fastest first.</summary>
    public IReadOnlyList<AttentionVariant> AttentionVariants(in AttentionForwardArgs args)
    {
        List<AttentionVariant> all = [];
        int headSize = args.HeadSize;
        if (AttentionInstance.Fits(headSize, ActivationType) && AreAligned(VectorVariant.Bytes, args.Q, args.K, args.V, args.Y))
        {
            bool isFew = Blocks(args, AttentionInstance.MostMmaQueries) < AttentionBlocksOfMultiprocessor * Context.Device.MultiprocessorCount;
            IEnumerable<int> sizes = isFew ? AttentionInstance.MmaQueries : AttentionInstance.MmaQueries.Reverse();
            all.AddRange(sizes.Select(queries => new AttentionVariant(AttentionKernel.Mma, queries)));
            if (HaveWgmma)
            {
                // It makes other bits of a row than mma.sync, so the number of tokens must not decide between them.
                all.Insert(0, new AttentionVariant(AttentionKernel.Wgmma, AttentionInstance.WgmmaQueries));
            }

            // A block of compute capability 7.5 has 64 KB.
            all.RemoveAll(variant => AttentionSharedBytes(variant, headSize) > _library.MaxSharedBytes);
        }

        all.Add(new AttentionVariant(AttentionKernel.Any, AttentionWarps));
        return all;
    }

    /// <summary>Attention in one of the ways that <see cref="AttentionVariants(in AttentionForwardArgs)"/> lists for these operands.</summary>
    public void AttentionForward(in AttentionForwardArgs args, AttentionVariant variant)
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
        AttentionInstance instance = new(ActivationType, args.HeadSize, variant.Queries);
        CudaKernel kernel = variant.Kernel switch
        {
            AttentionKernel.Wgmma => AttentionForwardWgmmaKernels.Get(_library, instance),
            AttentionKernel.Mma => AttentionForwardKernels.Get(_library, instance),
            _ => AttentionForwardAnyKernels.Get(_library, new VectorVariant(ActivationType, Elements: 1)),
        };
        int threads = variant.Kernel == AttentionKernel.Wgmma ? 2 * variant.Queries : AttentionThreads;
        int shared = AttentionSharedBytes(variant, args.HeadSize);
        Launch(kernel, AttentionGrid(args, variant.Queries), threads, parameters, shared, overlaps: true);
    }

    // Queries, and two tiles of keys and values.
    private int AttentionSharedBytes(AttentionVariant variant, int headSize) => headSize * ActivationType.Size() * variant.Kernel switch
    {
        AttentionKernel.Wgmma => variant.Queries + (4 * WgmmaAttentionTile),
        AttentionKernel.Mma => variant.Queries + (4 * AttentionTile),
        _ => 0,
    };

    /// <inheritdoc/>
    protected override void AttentionForwardCore(in AttentionForwardArgs args) => AttentionForward(args, AttentionVariants(args)[0]);

    private static long Blocks(in AttentionForwardArgs args, int rows) => AttentionGrid(args, rows) is { X: int x, Y: int y } ? (long)x * y : 0;

    /// <summary>A row of blocks a head, of so many rows each; every sequence may end within one, see SequenceChunk in mamba/sequences.cuh.</summary>
    private static Dim3 AttentionGrid(in AttentionForwardArgs args, int rows) =>
        new(checked((int)((args.Sequences.TotalLength / rows) + args.Sequences.Count)), args.Heads);

    /// <summary>The heads that tensor cores take, by blocks of so many rows.</summary>
    private readonly record struct AttentionInstance(DataType Type, int HeadSize, int Queries = AttentionTile)
    {
        public const int MostMmaQueries = 128;

        public static readonly int[] MmaQueries = [64, MostMmaQueries];

        public static IEnumerable<AttentionInstance> All { get; } =
            from type in new[] { DataType.BFloat16, DataType.Float16 }
            from headSize in new[] { 64, 128 }
            select new AttentionInstance(type, headSize);

        public static bool Fits(int headSize, DataType type) => headSize is 64 or 128 && type != DataType.Float32;

        // Two groups of four warps: three have too few registers each.
        public const int WgmmaQueries = 128;

        public override string ToString() => $"{Queries} x {HeadSize}";
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
