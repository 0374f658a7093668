namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AttentionBackwardCore(in AttentionBackwardArgs args)
    {
        AttentionBackwardBody body = new(args);
        _pool.Run(ref body, checked(args.Forward.Sequences.Count * args.Forward.Heads));
    }

    /// <summary>A part is one head of one sequence: its queries one after the other, each adding to the gradients of the keys up to it.</summary>
    private readonly struct AttentionBackwardBody(in AttentionBackwardArgs args) : IParallelBody
    {
        private readonly AttentionBackwardArgs _args = args;

        public void Run(int part)
        {
            AttentionForwardArgs forward = _args.Forward;
            int head = part % forward.Heads, sequence = part / forward.Heads, headSize = forward.HeadSize, column = head * headSize;
            long start = forward.Sequences.Starts[sequence], end = forward.Sequences.Starts[sequence + 1];
            float scale = forward.ChosenScale;
            FloatRows q = Rows(forward.Q), k = Rows(forward.K), v = Rows(forward.V), y = Rows(forward.Y), gradY = Rows(_args.GradY);
            FloatRows gradQ = Rows(_args.GradQ), gradK = Rows(_args.GradK), gradV = Rows(_args.GradV);
            for (long row = start; row < end; row++)
            {
                new Span<float>(gradK.Row(row) + column, headSize).Clear();
                new Span<float>(gradV.Row(row) + column, headSize).Clear();
            }

            float* sums = stackalloc float[MaxHeadSize];
            for (long query = start; query < end; query++)
            {
                float* mine = q.Row(query) + column, grad = gradY.Row(query) + column;
                float delta = AttentionMath.Dot(grad, y.Row(query) + column, headSize);
                float logSumExp = Rows(forward.LogSumExp).Row(head)[query];
                new Span<float>(sums, headSize).Clear();
                for (long key = start; key <= query; key++)
                {
                    float* other = k.Row(key) + column;
                    float weight = MathF.Exp((scale * AttentionMath.Dot(mine, other, headSize)) - logSumExp);
                    float slope = scale * weight * (AttentionMath.Dot(grad, v.Row(key) + column, headSize) - delta);
                    AttentionMath.AddScaled(slope, other, sums, headSize);
                    AttentionMath.AddScaled(slope, mine, gradK.Row(key) + column, headSize);
                    AttentionMath.AddScaled(weight, grad, gradV.Row(key) + column, headSize);
                }

                new ReadOnlySpan<float>(sums, headSize).CopyTo(new Span<float>(gradQ.Row(query) + column, headSize));
            }
        }
    }
}
