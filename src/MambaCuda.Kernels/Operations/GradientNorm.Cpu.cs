using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void GradientNormCore(in GradientNormArgs args)
    {
        long count = args.Gradients.Rows * args.Gradients.Columns;
        int blocks = Parts(count, GradientNormBody.BlockLength);
        double* sums = (double*)Scratch(blocks * (long)sizeof(double)).Pointer;
        long perPart = ItemsPerPart(blocks, minimum: 1);
        GradientNormBody body = new(Floats(args.Gradients), count, sums, blocks, perPart);
        _pool.Run(ref body, Parts(blocks, perPart));
        double total = 0;
        for (int block = 0; block < blocks; block++)
        {
            total += sums[block];
        }

        *Floats(args.Norm) = (float)Math.Sqrt(total);
    }

    /// <summary>The sums of squares of blocks, in float64: squares of float32 can neither overflow there nor vanish.</summary>
    private readonly struct GradientNormBody(float* gradients, long count, double* sums, int blocks, long blocksPerPart) : IParallelBody
    {
        public const int BlockLength = 1 << 15;

        private readonly float* _gradients = gradients;
        private readonly double* _sums = sums;

        public void Run(int part)
        {
            long end = Math.Min((part + 1) * blocksPerPart, blocks);
            for (long block = part * blocksPerPart; block < end; block++)
            {
                long first = block * BlockLength;
                _sums[block] = SumOfSquares(_gradients + first, (int)Math.Min(BlockLength, count - first));
            }
        }

        private static double SumOfSquares(float* x, int count)
        {
            Vector<double> lower = Vector<double>.Zero, upper = Vector<double>.Zero;
            int i = 0;
            for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector.Widen(Vector.Load(x + i), out Vector<double> low, out Vector<double> high);
                lower = Vector.FusedMultiplyAdd(low, low, lower);
                upper = Vector.FusedMultiplyAdd(high, high, upper);
            }

            double sum = 0;
            for (; i < count; i++)
            {
                sum += (double)x[i] * x[i];
            }

            return sum + Vector.Sum(lower + upper);
        }
    }
}
