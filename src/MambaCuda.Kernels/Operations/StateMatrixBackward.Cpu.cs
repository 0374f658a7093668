using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void StateMatrixBackwardCore(in StateMatrixBackwardArgs args)
    {
        long perPart = ItemsPerPart(args.A.Rows, minimum: 1);
        StateMatrixBackwardBody body = new(
            Rows(args.A), Rows(args.GradA), Rows(args.GradLogA), args.A.Rows, args.A.Columns, perPart);
        _pool.Run(ref body, Parts(args.A.Rows, perPart));
    }

    private readonly struct StateMatrixBackwardBody(
        FloatRows a, FloatRows gradA, FloatRows gradLogA, long rows, int columns, long rowsPerPart) : IParallelBody
    {
        private readonly FloatRows _a = a;
        private readonly FloatRows _gradA = gradA;
        private readonly FloatRows _gradLogA = gradLogA;

        public void Run(int part)
        {
            long end = Math.Min((part + 1) * rowsPerPart, rows);
            for (long row = part * rowsPerPart; row < end; row++)
            {
                for (int c = 0; c < columns; c += Vector<float>.Count)
                {
                    int lanes = Math.Min(Vector<float>.Count, columns - c);
                    Vector<float> sum = Vector.FusedMultiplyAdd(
                        _gradA.Get(row, c, lanes), _a.Get(row, c, lanes), _gradLogA.Get(row, c, lanes));
                    _gradLogA.Set(row, c, lanes, sum);
                }
            }
        }
    }
}
