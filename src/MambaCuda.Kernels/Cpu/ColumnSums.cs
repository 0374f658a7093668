using System.Numerics;
using System.Runtime.CompilerServices;

namespace MambaCuda.Kernels;

/// <summary>
/// Adds the sum of each column of a matrix to a row. A part owns columns and walks all rows, so the order of the sum is the rows', whatever
/// the number of threads; blocks of rows are summed apart, so that long sums do not lose the small terms to the large total.
/// </summary>
internal readonly unsafe struct ColumnSums(FloatRows source, long rows, int columns, float* destination) : IParallelBody
{
    /// <summary>Columns of a part: four cache lines a row, which the processor's prefetcher follows down.</summary>
    private const int ColumnsPerPart = 64;

    private const int RowsPerBlock = 128;

    private readonly FloatRows _source = source;
    private readonly long _rows = rows;
    private readonly int _columns = columns;
    private readonly float* _destination = destination;

    public int Parts => (_columns + ColumnsPerPart - 1) / ColumnsPerPart;

    public void Run(int part)
    {
        int column = part * ColumnsPerPart, end = Math.Min(column + ColumnsPerPart, _columns);
        for (; column <= end - Vector<float>.Count; column += Vector<float>.Count)
        {
            Add(column, Vector<float>.Count);
        }

        if (column < end)
        {
            Add(column, end - column);
        }
    }

    /// <summary>Inlined with a constant number of lanes: a call in the loop would have every register saved around it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Add(int column, int lanes)
    {
        FloatRows source = _source, destination = new(_destination, 0);
        Vector<float> total = Vector<float>.Zero;
        for (long first = 0; first < _rows; first += RowsPerBlock)
        {
            Vector<float> sum = Vector<float>.Zero;
            long last = Math.Min(first + RowsPerBlock, _rows);
            for (long row = first; row < last; row++)
            {
                sum += source.Get(row, column, lanes);
            }

            total += sum;
        }

        destination.Set(0, column, lanes, destination.Get(0, column, lanes) + total);
    }
}
