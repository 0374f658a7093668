using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int EmbeddingBackwardThreads = 256;

    // Each block looks through all tokens: as few as keep a large card busy.
    private const int EmbeddingBackwardBlocks = 1024;

    private static readonly KernelFamily<VectorVariant> EmbeddingBackwardKernels = new(
        "embedding_backward.cu", variant => $"mamba::embedding_backward<{variant.Elements}>",
        VectorVariant.All(VectorVariant.Bytes).Where(variant => variant.Type == DataType.Float32));

    /// <inheritdoc/>
    protected override void EmbeddingBackwardCore(in EmbeddingBackwardArgs args)
    {
        int channels = args.GradWeight.Columns;
        if (args.TokenIds.Rows == 0 || channels == 0)
        {
            return;
        }

        // Rows that one block covers either way are walked with a column a thread: more of them are then under way.
        bool aligned = channels > EmbeddingBackwardThreads && AreAligned(VectorVariant.Bytes, args.GradOutput, args.GradWeight);
        VectorVariant variant = VectorVariant.For(DataType.Float32, VectorVariant.Bytes, channels, aligned);
        long ids = Math.Max(1, (args.GradWeight.Rows + EmbeddingBackwardBlocks - 1) / EmbeddingBackwardBlocks);

        // One block even for a table without rows: it reports the tokens.
        long blocks = Math.Max(1, (args.GradWeight.Rows + ids - 1) / ids);
        Dim3 grid = new((int)blocks, DivideUp(channels, EmbeddingBackwardThreads * variant.Elements));
        Launch(EmbeddingBackwardKernels.Get(_library, variant), grid, EmbeddingBackwardThreads, new EmbeddingBackwardParams
        {
            TokenIds = Address(args.TokenIds),
            GradOutput = Address(args.GradOutput),
            GradWeight = Address(args.GradWeight),
            Fault = _faults.DeviceAddress,
            Tokens = args.TokenIds.Rows,
            TokenIdsStride = args.TokenIds.RowStride,
            GradOutputStride = args.GradOutput.RowStride,
            GradWeightStride = args.GradWeight.RowStride,
            Vocabulary = args.GradWeight.Rows,
            Ids = checked((int)ids),
            Channels = channels,
        });
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct EmbeddingBackwardParams
    {
        public nint TokenIds;
        public nint GradOutput;
        public nint GradWeight;
        public nint Fault;
        public long Tokens;
        public long TokenIdsStride;
        public long GradOutputStride;
        public long GradWeightStride;
        public long Vocabulary;
        public int Ids;
        public int Channels;
    }
}
