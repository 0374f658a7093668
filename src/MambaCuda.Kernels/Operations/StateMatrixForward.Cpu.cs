using System.Numerics;

namespace MambaCuda.Kernels;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void StateMatrixForwardCore(in StateMatrixForwardArgs args)
    {
        long perPart = ItemsPerPart(args.A.Rows, minimum: 1);
        StateMatrixForwardBody body = new(Rows(args.LogA), Rows(args.A), args.A.Rows, args.A.Columns, perPart);
        _pool.Run(ref body, Parts(args.A.Rows, perPart));
    }

    private readonly struct StateMatrixForwardBody(FloatRows logA, FloatRows a, long rows, int columns, long rowsPerPart) : IParallelBody
    {
        private readonly FloatRows _logA = logA;
        private readonly FloatRows _a = a;

        public void Run(int part)
        {
            long end = Math.Min((part + 1) * rowsPerPart, rows);
            for (long row = part * rowsPerPart; row < end; row++)
            {
                for (int c = 0; c < columns; c += Vector<float>.Count)
                {
                    int lanes = Math.Min(Vector<float>.Count, columns - c);
                    _a.Set(row, c, lanes, -VectorMath.Exp(_logA.Get(row, c, lanes)));
                }
            }
        }
    }
}
