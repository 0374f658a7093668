namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void EmbeddingBackwardCore(in EmbeddingBackwardArgs args)
    {
        // Before anything is written: half a gradient would be of no use to whoever catches the exception.
        int* ids = Integers(args.TokenIds);
        for (long token = 0; token < args.TokenIds.Rows; token++)
        {
            int id = ids[token * args.TokenIds.RowStride];
            if (id < 0 || id >= args.GradWeight.Rows)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(args), id, $"Token {token} is not in the vocabulary of {args.GradWeight.Rows}.");
            }
        }

        // Whole cache lines.
        int perPart = ((int)ItemsPerPart(args.GradWeight.Columns, minimum: 32) + 15) / 16 * 16;
        EmbeddingBackwardBody body = new(args, perPart);
        _pool.Run(ref body, Parts(args.GradWeight.Columns, perPart));
    }

    /// <summary>
    /// A part owns some columns and adds those of every token, one token after the other: an id's tokens are added in their order whatever
    /// the number of threads, and no two threads write to one place.
    /// </summary>
    private readonly struct EmbeddingBackwardBody(in EmbeddingBackwardArgs args, int columnsPerPart) : IParallelBody
    {
        private readonly int* _ids = Integers(args.TokenIds);
        private readonly long _idStride = args.TokenIds.RowStride;
        private readonly long _tokens = args.TokenIds.Rows;
        private readonly int _columns = args.GradWeight.Columns;
        private readonly FloatRows _gradOutput = Rows(args.GradOutput);
        private readonly FloatRows _gradWeight = Rows(args.GradWeight);

        public void Run(int part)
        {
            int first = part * columnsPerPart, end = Math.Min(first + columnsPerPart, _columns);
            for (long token = 0; token < _tokens; token++)
            {
                FloatRows.Add(_gradOutput.Row(token) + first, _gradWeight.Row(_ids[token * _idStride]) + first, end - first);
            }
        }
    }
}
