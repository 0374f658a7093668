using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void LogProbabilitiesCore(in LogProbabilitiesArgs args)
    {
        for (long row = 0; row < args.Logits.Rows; row++)
        {
            int id = *(int*)Row(args.TokenIds, row);
            if (id < 0 || id >= args.Logits.Columns)
            {
                throw new ArgumentOutOfRangeException(nameof(args), id, $"Row {row} asks for a token outside the vocabulary of {args.Logits.Columns}.");
            }
        }

        LogProbabilitiesBody body = new(args);
        _pool.Run(ref body, checked((int)args.Logits.Rows));
    }

    private readonly struct LogProbabilitiesBody(in LogProbabilitiesArgs args) : IParallelBody
    {
        private readonly LogProbabilitiesArgs _args = args;

        public void Run(int part)
        {
            float* logits = (float*)CpuBackend.Row(_args.Logits, part);
            int id = *(int*)CpuBackend.Row(_args.TokenIds, part);
            *(float*)CpuBackend.Row(_args.Output, part) = (float)(logits[id] - LogSumExp(logits, _args.Logits.Columns));
        }
    }

    /// <summary>log of the sum of e^x, the largest taken out first so that nothing overflows.</summary>
    private static double LogSumExp(float* x, int count)
    {
        float largest = Largest(new ReadOnlySpan<float>(x, count));
        double sum = 0;
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            sum += Vector.Sum(VectorMath.Exp(Vector.Load(x + i) - new Vector<float>(largest)));
        }

        for (; i < count; i++)
        {
            sum += Math.Exp(x[i] - largest);
        }

        return largest + Math.Log(sum);
    }

    private static float Largest(ReadOnlySpan<float> values)
    {
        float largest = float.NegativeInfinity;
        foreach (float value in values)
        {
            // Written so that NaN stays.
            largest = value <= largest ? largest : value;
        }

        return largest;
    }
}
