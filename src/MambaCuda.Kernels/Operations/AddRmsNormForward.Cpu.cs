using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AddRmsNormForwardCore(in AddRmsNormForwardArgs args)
    {
        long perPart = ItemsPerPart(args.Residual.Rows, minimum: 8);
        AddRmsNormBody body = new(args, perPart);
        _pool.Run(ref body, Parts(args.Residual.Rows, perPart));
    }

    private readonly struct AddRmsNormBody(in AddRmsNormForwardArgs args, long rowsPerPart) : IParallelBody
    {
        private readonly AddRmsNormForwardArgs _args = args;

        public void Run(int part)
        {
            long end = Math.Min((part + 1) * rowsPerPart, _args.Residual.Rows);
            for (long row = part * rowsPerPart; row < end; row++)
            {
                float* x = _args.X.IsNone ? null : (float*)CpuBackend.Row(_args.X, row);
                float* residual = (float*)CpuBackend.Row(_args.Residual, row), y = (float*)CpuBackend.Row(_args.Y, row);
                float* sum = (float*)CpuBackend.Row(_args.ResidualOut, row);
                int channels = _args.Residual.Columns;
                if (x != null)
                {
                    FloatRows.Add(residual, x, sum, channels);
                }
                else if (sum != residual)
                {
                    new ReadOnlySpan<float>(residual, channels).CopyTo(new Span<float>(sum, channels));
                }

                NormRow(sum, Floats(_args.Weight), _args.Epsilon, y, channels);
            }
        }

        private static void NormRow(float* residual, float* weight, float epsilon, float* y, int channels)
        {
            float scale = InverseRms(residual, channels, epsilon);
            int whole = channels - (channels % Vector<float>.Count);
            for (int c = 0; c < whole; c += Vector<float>.Count)
            {
                (Vector.Load(residual + c) * scale * Vector.Load(weight + c)).Store(y + c);
            }

            for (int c = whole; c < channels; c++)
            {
                y[c] = residual[c] * scale * weight[c];
            }
        }
    }

    /// <summary>1 / sqrt(mean(x^2) + epsilon) of one row.</summary>
    private static float InverseRms(float* x, int channels, float epsilon)
    {
        int whole = channels - (channels % Vector<float>.Count);
        Vector<float> squares = Vector<float>.Zero;
        float sum = 0;
        for (int c = 0; c < whole; c += Vector<float>.Count)
        {
            Vector<float> value = Vector.Load(x + c);
            squares = Vector.FusedMultiplyAdd(value, value, squares);
        }

        for (int c = whole; c < channels; c++)
        {
            sum += x[c] * x[c];
        }

        return 1f / MathF.Sqrt(((sum + Vector.Sum(squares)) / channels) + epsilon);
    }
}
