namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void EmbeddingForwardCore(in EmbeddingForwardArgs args)
    {
        int* ids = Integers(args.TokenIds);
        for (long token = 0; token < args.TokenIds.Rows; token++)
        {
            int id = ids[token * args.TokenIds.RowStride];
            if (id < 0 || id >= args.Weight.Rows)
            {
                throw new ArgumentOutOfRangeException(nameof(args), id, $"Token {token} is not in the vocabulary of {args.Weight.Rows}.");
            }

            StoredFloats.Widen(Row(args.Weight, id), args.Weight.Type, (float*)Row(args.Output, token), args.Weight.Columns);
        }
    }
}
