using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MambaCuda.Kernels;

/// <summary>
/// Rows of stored numbers made columns of float32. Sixteen columns at a time, so that whole cache lines are read, and they are walked down,
/// so that each of the sixteen destination rows is written from left to right.
/// </summary>
internal static unsafe class Transposition
{
    private const int Columns = 16;

    /// <summary>destination[column, row] = source[row, column]. The source's stride is in bytes, the destination's in elements.</summary>
    public static void Run<TStored>(byte* source, long stride, int rows, int columns, float* destination, long destinationStride)
        where TStored : struct, IStoredFloat
    {
        int column = 0;
        for (; column <= columns - Columns; column += Columns)
        {
            byte* from = source + ((long)column * TStored.Size);
            float* to = destination + (column * destinationStride);
            int row = 0;
            for (; row <= rows - 4; row += 4)
            {
                byte* block = from + (row * stride);
                FourByEight<TStored>(block, stride, to + row, destinationStride);
                FourByEight<TStored>(block + (8 * TStored.Size), stride, to + (8 * destinationStride) + row, destinationStride);
            }

            OneByOne<TStored>(from + (row * stride), stride, rows - row, Columns, to + row, destinationStride);
        }

        OneByOne<TStored>(
            source + ((long)column * TStored.Size), stride, rows, columns - column, destination + (column * destinationStride),
            destinationStride);
    }

    private static void OneByOne<TStored>(byte* source, long stride, int rows, int columns, float* destination, long destinationStride)
        where TStored : struct, IStoredFloat
    {
        for (int column = 0; column < columns; column++)
        {
            for (int row = 0; row < rows; row++)
            {
                destination[(column * destinationStride) + row] = TStored.Load(source + (row * stride) + ((long)column * TStored.Size));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourByEight<TStored>(byte* source, long stride, float* destination, long destinationStride)
        where TStored : struct, IStoredFloat
    {
        Vector256<float> v0 = TStored.Load256(source), v1 = TStored.Load256(source + stride);
        Vector256<float> v2 = TStored.Load256(source + (2 * stride)), v3 = TStored.Load256(source + (3 * stride));
        FourByFour(v0.GetLower(), v1.GetLower(), v2.GetLower(), v3.GetLower(), destination, destinationStride);
        FourByFour(
            v0.GetUpper(), v1.GetUpper(), v2.GetUpper(), v3.GetUpper(), destination + (4 * destinationStride), destinationStride);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourByFour(
        Vector128<float> v0, Vector128<float> v1, Vector128<float> v2, Vector128<float> v3, float* destination, long stride)
    {
        if (Sse.IsSupported)
        {
            Vector128<float> low01 = Sse.UnpackLow(v0, v1), high01 = Sse.UnpackHigh(v0, v1);
            Vector128<float> low23 = Sse.UnpackLow(v2, v3), high23 = Sse.UnpackHigh(v2, v3);
            Sse.MoveLowToHigh(low01, low23).Store(destination);
            Sse.MoveHighToLow(low23, low01).Store(destination + stride);
            Sse.MoveLowToHigh(high01, high23).Store(destination + (2 * stride));
            Sse.MoveHighToLow(high23, high01).Store(destination + (3 * stride));
        }
        else
        {
            for (int i = 0; i < 4; i++)
            {
                Vector128.Create(v0[i], v1[i], v2[i], v3[i]).Store(destination + (i * stride));
            }
        }
    }
}
