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
                throw new ArgumentOutOfRangeException(
                    nameof(args), id, $"Row {row} asks for a token outside the vocabulary of {args.Logits.Columns}.");
            }
        }

        long perPart = ItemsPerPart(args.Logits.Rows, minimum: 1);
        LogProbabilitiesBody body = new(args, perPart);
        _pool.Run(ref body, Parts(args.Logits.Rows, perPart));
    }

    private readonly struct LogProbabilitiesBody(in LogProbabilitiesArgs args, long rowsPerPart) : IParallelBody
    {
        private readonly LogProbabilitiesArgs _args = args;

        public void Run(int part)
        {
            long end = Math.Min((part + 1) * rowsPerPart, _args.Logits.Rows);
            for (long row = part * rowsPerPart; row < end; row++)
            {
                float* logits = (float*)CpuBackend.Row(_args.Logits, row);
                int id = *(int*)CpuBackend.Row(_args.TokenIds, row);
                *(float*)CpuBackend.Row(_args.Output, row) = (float)(logits[id] - LogSumExp(logits, _args.Logits.Columns));
            }
        }
    }

    /// <summary>log of the sum of e^x, the largest taken out first so that nothing overflows.</summary>
    private static double LogSumExp(float* x, int count)
    {
        float largest = Largest(x, count);
        return largest + Math.Log(SumExp(x, count, largest, null));
    }

    /// <summary>The sum of e^(x - largest), whose terms are left in <paramref name="terms"/>, x itself perhaps, or nowhere.</summary>
    private static double SumExp(float* x, int count, float largest, float* terms)
    {
        double sum = 0;
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> term = VectorMath.Exp(Vector.Load(x + i) - new Vector<float>(largest));
            sum += Vector.Sum(term);
            if (terms != null)
            {
                term.Store(terms + i);
            }
        }

        for (; i < count; i++)
        {
            double term = Math.Exp(x[i] - largest);
            sum += term;
            if (terms != null)
            {
                terms[i] = (float)term;
            }
        }

        return sum;
    }

    /// <summary>The largest value; NaN where one is NaN, as Max of vectors and numbers both have it.</summary>
    private static float Largest(float* x, int count)
    {
        Vector<float> largest = new(float.NegativeInfinity);
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            largest = Vector.Max(largest, Vector.Load(x + i));
        }

        float result = float.NegativeInfinity;
        for (int lane = 0; lane < Vector<float>.Count; lane++)
        {
            result = MathF.Max(result, largest[lane]);
        }

        for (; i < count; i++)
        {
            result = MathF.Max(result, x[i]);
        }

        return result;
    }
}
