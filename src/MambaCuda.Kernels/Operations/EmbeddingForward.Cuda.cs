using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int EmbeddingThreads = 256;

    private static readonly KernelFamily<VectorVariant> EmbeddingForwardKernels = new(
        "embedding_forward.cu", variant => $"mamba::embedding_forward<{TypeName(variant.Type)}, {variant.Elements}>", VectorVariant.All(VectorVariant.Bytes), inSteps: true);

    /// <inheritdoc/>
    protected override void EmbeddingForwardCore(in EmbeddingForwardArgs args)
    {
        if (args.TokenIds.Rows == 0 || args.Weight.Columns == 0)
        {
            return;
        }

        bool aligned = AreAligned(VectorVariant.Bytes, args.Weight, args.Output);
        VectorVariant variant = VectorVariant.For(args.Weight.Type, VectorVariant.Bytes, args.Weight.Columns, aligned);
        Launch(EmbeddingForwardKernels.Get(_library, variant), checked((int)args.TokenIds.Rows), EmbeddingThreads, new EmbeddingForwardParams
        {
            TokenIds = Address(args.TokenIds),
            Weight = Address(args.Weight),
            Output = Address(args.Output),
            Fault = _faults.DeviceAddress,
            TokenIdsStride = args.TokenIds.RowStride,
            Vocabulary = args.Weight.Rows,
            WeightStride = args.Weight.RowStride,
            OutputStride = args.Output.RowStride,
            Channels = args.Weight.Columns,
        }, overlaps: true);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct EmbeddingForwardParams
    {
        public nint TokenIds;
        public nint Weight;
        public nint Output;
        public nint Fault;
        public long TokenIdsStride;
        public long Vocabulary;
        public long WeightStride;
        public long OutputStride;
        public int Channels;
    }
}
