using System.Runtime.InteropServices;
using MambaCuda.Driver;

namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    private const int EmbeddingBackwardThreads = 256;

    // Each block looks through all tokens: as few as keep a large card busy.
    private const int EmbeddingBackwardBlocks = 1024;

    /// <summary>What a block looks through at once.</summary>
    private const int EmbeddingBackwardTile = 2048;

    /// <summary>From so many tokens on, blocks share them among themselves where the table leaves too few.</summary>
    private const int SharedEmbeddingTokens = 8 * EmbeddingBackwardTile;

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
        int columnBlocks = DivideUp(channels, EmbeddingBackwardThreads * variant.Elements);
        long tiles = DivideUp(args.TokenIds.Rows, EmbeddingBackwardTile);
        long wanted = args.TokenIds.Rows < SharedEmbeddingTokens ? 1 : EmbeddingBackwardBlocks / (blocks * columnBlocks);
        long partTiles = DivideUp(tiles, Math.Clamp(wanted, 1, tiles));
        int parts = (int)DivideUp(tiles, partTiles);
        long partFloats = args.GradWeight.Rows * channels;
        nint partials = parts > 1 ? _scratch.Reserve(parts * partFloats * sizeof(float)) : 0;
        Dim3 grid = new((int)blocks, columnBlocks, parts);
        Launch(EmbeddingBackwardKernels.Get(_library, variant), grid, EmbeddingBackwardThreads, new EmbeddingBackwardParams
        {
            TokenIds = Address(args.TokenIds),
            GradOutput = Address(args.GradOutput),
            GradWeight = parts > 1 ? partials : Address(args.GradWeight),
            Fault = _faults.DeviceAddress,
            Tokens = args.TokenIds.Rows,
            PartTokens = partTiles * EmbeddingBackwardTile,
            PartStride = partFloats,
            TokenIdsStride = args.TokenIds.RowStride,
            GradOutputStride = args.GradOutput.RowStride,
            GradWeightStride = parts > 1 ? channels : args.GradWeight.RowStride,
            Vocabulary = args.GradWeight.Rows,
            Ids = checked((int)ids),
            Channels = channels,
        });
        if (parts > 1)
        {
            SumPartials(partFloats, channels, parts, add: true, (partials, args.GradWeight));
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct EmbeddingBackwardParams
    {
        public nint TokenIds;
        public nint GradOutput;
        public nint GradWeight;
        public nint Fault;
        public long Tokens;
        public long PartTokens;
        public long PartStride;
        public long TokenIdsStride;
        public long GradOutputStride;
        public long GradWeightStride;
        public long Vocabulary;
        public int Ids;
        public int Channels;
    }
}
