using System.Numerics;

namespace MambaCuda.Kernels;

/// <summary>
/// Adds matrices that parts of an operation left, one after the other: who ran which part, and when, does not show in the sum. It is
/// written to a matrix, or added to what that holds. The matrices lie below each other, a stride of rows from one to the next.
/// </summary>
internal readonly struct PartialSums(FloatRows first, long stride, int count, FloatRows destination, long rows, int columns, bool add)
    : IParallelBody
{
    /// <summary>Elements of a part: enough that starting it does not show.</summary>
    private const int PartElements = 8192;

    /// <summary>More than threads, and few enough for the pool.</summary>
    private const long MostParts = 1024;

    private readonly FloatRows _first = first;
    private readonly FloatRows _destination = destination;
    private readonly long _rowsPerPart = Math.Max(1, Math.Max(PartElements / columns, (rows + MostParts - 1) / MostParts));

    public int Parts => (int)((rows + _rowsPerPart - 1) / _rowsPerPart);

    public void Run(int part)
    {
        long end = Math.Min((part + 1) * _rowsPerPart, rows);
        for (long row = part * _rowsPerPart; row < end; row++)
        {
            for (int column = 0; column < columns; column += Vector<float>.Count)
            {
                int lanes = Math.Min(Vector<float>.Count, columns - column);
                Vector<float> sum = _first.Get(row, column, lanes);
                for (int i = 1; i < count; i++)
                {
                    sum += _first.Get(row + (i * stride), column, lanes);
                }

                _destination.Set(row, column, lanes, add ? sum + _destination.Get(row, column, lanes) : sum);
            }
        }
    }
}
