using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    // Keys that a lane reads at once.
    private const int DecodeKeysAhead = 8;

    // Chunks of the cache: shorter ones leave more to combine, longer ones less for a card to do at once.
    private const int ShortestDecodeChunk = 256;
    private const int LongestDecodeChunk = 4096;

    // Blocks that keep a large card busy. A chunk cuts the sums, so it is the same for every card.
    private const int ManyDecodeBlocks = 4 * 132;

    // Where results must not depend on how many sequences there are.
    private const int FixedDecodeChunk = 512;

    private static readonly KernelFamily<AttentionDecodeVariant> AttentionDecodeKernels = new(
        "attention_decode.cu",
        variant => $"mamba::attention_decode<{TypeName(variant.Type)}, {variant.Elements}, {variant.Lanes}, {DecodeKeysAhead}, "
            + $"{Word(variant.Aligned)}>",
        AttentionDecodeVariant.All);

    private static readonly KernelFamily<VectorVariant> AttentionDecodeCombineKernels = new(
        "attention_decode.cu",
        variant => $"mamba::attention_decode_combine<{TypeName(variant.Type)}>",
        VectorVariant.ActivationTypes.Select(type => new VectorVariant(type, Elements: 1)),
        describe: _ => "chunks combined");

    /// <inheritdoc/>
    protected override void AttentionDecodeCore(in AttentionDecodeArgs args)
    {
        int sequences = checked((int)args.Q.Rows), chunk = DecodeChunk(args);
        int chunks = checked((int)DivideUp(args.Capacity, chunk));
        AttentionDecodeParams parameters = new()
        {
            Q = Address(args.Q),
            K = Address(args.K),
            V = Address(args.V),
            KeyCache = Address(args.KeyCache),
            ValueCache = Address(args.ValueCache),
            Lengths = Address(args.Lengths),
            Y = Address(args.Y),
            Partial = chunks == 1 ? 0 : _scratch.Reserve((long)sequences * args.Heads * chunks * (args.HeadSize + 2) * sizeof(float)),
            Fault = _faults.DeviceAddress,
            QStride = args.Q.RowStride,
            KStride = args.K.RowStride,
            VStride = args.V.RowStride,
            KeyCacheStride = args.KeyCache.RowStride,
            ValueCacheStride = args.ValueCache.RowStride,
            LengthsStride = args.Lengths.RowStride,
            YStride = args.Y.RowStride,
            Capacity = args.Capacity,
            HeadSize = args.HeadSize,
            Chunk = chunk,
            Chunks = chunks,
            Scale = args.ChosenScale,
        };
        bool aligned = AreAligned(VectorVariant.Bytes, args.Q, args.K, args.V, args.KeyCache, args.ValueCache);
        AttentionDecodeVariant variant = AttentionDecodeVariant.For(ActivationType, args.HeadSize, aligned);
        Launch(
            AttentionDecodeKernels.Get(_library, variant), new Dim3(args.Heads, chunks, sequences), AttentionThreads, parameters, overlaps: true);
        if (chunks > 1)
        {
            CudaKernel combine = AttentionDecodeCombineKernels.Get(_library, new VectorVariant(ActivationType, Elements: 1));
            Launch(combine, new Dim3(args.Heads, sequences), AttentionThreads, parameters, overlaps: true);
        }
    }

    /// <summary>Keys of a block, from shapes alone: so that a full cache keeps a large card busy.</summary>
    private int DecodeChunk(in AttentionDecodeArgs args)
    {
        if (_options.BatchInvariant)
        {
            return FixedDecodeChunk;
        }

        int chunk = LongestDecodeChunk;
        while (chunk > ShortestDecodeChunk && args.Q.Rows * args.Heads * DivideUp(args.Capacity, chunk) < ManyDecodeBlocks)
        {
            chunk /= 2;
        }

        return chunk;
    }

    /// <summary>How a key is read: by lanes of 16 bytes, or of a few elements one by one.</summary>
    private readonly record struct AttentionDecodeVariant(DataType Type, int Elements, int Lanes, bool Aligned)
    {
        public static IEnumerable<AttentionDecodeVariant> All { get; } =
            from type in VectorVariant.ActivationTypes
            from variant in new[] { For(type, 64, aligned: true), For(type, 128, aligned: true), For(type, 64, aligned: false) }
            select variant;

        public static AttentionDecodeVariant For(DataType type, int headSize, bool aligned)
        {
            int elements = VectorVariant.Bytes / type.Size();
            return aligned && headSize % elements == 0
                ? new AttentionDecodeVariant(type, elements, (headSize <= 64 ? 64 : 128) / elements, true)
                : new AttentionDecodeVariant(type, MaxHeadSize / WarpThreads, WarpThreads, false);
        }

        public override string ToString() => $"{Lanes} lanes a key{Placed(Aligned)}";
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AttentionDecodeParams
    {
        public nint Q;
        public nint K;
        public nint V;
        public nint KeyCache;
        public nint ValueCache;
        public nint Lengths;
        public nint Y;
        public nint Partial;
        public nint Fault;
        public long QStride;
        public long KStride;
        public long VStride;
        public long KeyCacheStride;
        public long ValueCacheStride;
        public long LengthsStride;
        public long YStride;
        public long Capacity;
        public int HeadSize;
        public int Chunk;
        public int Chunks;
        public float Scale;
    }
}
