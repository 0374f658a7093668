namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AttentionDecodeCore(in AttentionDecodeArgs args)
    {
        for (long sequence = 0; sequence < args.Q.Rows; sequence++)
        {
            int length = *(int*)Row(args.Lengths, sequence);
            if (length < 0 || length >= args.Capacity)
            {
                throw new ArgumentOutOfRangeException(nameof(args), length, AttentionFault.Length(sequence, length));
            }
        }

        AttentionDecodeBody body = new(args);
        _pool.Run(ref body, checked((int)args.Q.Rows * args.Heads));
    }

    /// <summary>A part is one head of one sequence.</summary>
    private readonly struct AttentionDecodeBody(in AttentionDecodeArgs args) : IParallelBody
    {
        private readonly AttentionDecodeArgs _args = args;

        public void Run(int part)
        {
            int sequence = part / _args.Heads, headSize = _args.HeadSize, column = part % _args.Heads * headSize;
            long length = *(int*)CpuBackend.Row(_args.Lengths, sequence), first = sequence * _args.Capacity;
            FloatRows keys = Rows(_args.KeyCache), values = Rows(_args.ValueCache);
            float* q = Rows(_args.Q).Row(sequence) + column, y = Rows(_args.Y).Row(sequence) + column;
            float* k = Rows(_args.K).Row(sequence) + column, v = Rows(_args.V).Row(sequence) + column;
            new ReadOnlySpan<float>(k, headSize).CopyTo(new Span<float>(keys.Row(first + length) + column, headSize));
            new ReadOnlySpan<float>(v, headSize).CopyTo(new Span<float>(values.Row(first + length) + column, headSize));
            AttentionMath.Attend(
                q,
                _args.ChosenScale,
                keys.Row(first) + column,
                _args.KeyCache.RowStride,
                values.Row(first) + column,
                _args.ValueCache.RowStride,
                length + 1,
                headSize,
                y);
        }
    }
}
