namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AttentionForwardCore(in AttentionForwardArgs args)
    {
        AttentionForwardBody body = new(args);
        _pool.Run(ref body, checked(AttentionForwardBody.PartsOf(args.Sequences) * args.Heads));
    }

    /// <summary>A part is some queries of one head, by their rows, whichever sequence they are in.</summary>
    private readonly struct AttentionForwardBody(in AttentionForwardArgs args) : IParallelBody
    {
        private const int PartQueries = 32;

        private readonly AttentionForwardArgs _args = args;

        public static int PartsOf(SequenceLayout sequences) => checked((int)((sequences.TotalLength + PartQueries - 1) / PartQueries));

        public void Run(int part)
        {
            int parts = PartsOf(_args.Sequences), headSize = _args.HeadSize;
            long row = (long)(part % parts) * PartQueries, end = Math.Min(row + PartQueries, _args.Q.Rows);
            int column = part / parts * headSize;
            ReadOnlySpan<long> starts = _args.Sequences.Starts;
            int sequence = starts.BinarySearch(row);
            sequence = sequence < 0 ? ~sequence - 1 : sequence;
            FloatRows q = Rows(_args.Q), k = Rows(_args.K), v = Rows(_args.V), y = Rows(_args.Y), logSumExp = Rows(_args.LogSumExp);
            for (; row < end; row++)
            {
                while (row >= starts[sequence + 1])
                {
                    sequence++;
                }

                long start = starts[sequence];
                float result = AttentionMath.Attend(
                    q.Row(row) + column,
                    _args.ChosenScale,
                    k.Row(start) + column,
                    _args.K.RowStride,
                    v.Row(start) + column,
                    _args.V.RowStride,
                    row - start + 1,
                    headSize,
                    y.Row(row) + column);
                if (!logSumExp.IsNone)
                {
                    logSumExp.Row(part / parts)[row] = result;
                }
            }
        }
    }
}
