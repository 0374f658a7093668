namespace MambaCuda.Kernels.Tests;

/// <summary>Rows made columns, of every weight type and of sizes that no block divides.</summary>
public unsafe class TranspositionTests
{
    [Theory, InlineData(DataType.Float32), InlineData(DataType.BFloat16), InlineData(DataType.Float16)]
    public void Rows_become_columns(DataType type)
    {
        foreach (int rows in new[] { 1, 3, 4, 5, 16, 31 })
        {
            foreach (int columns in new[] { 1, 7, 8, 15, 16, 17, 33, 50 })
            {
                AssertTransposed(type, rows, columns);
            }
        }
    }

    private static void AssertTransposed(DataType type, int rows, int columns)
    {
        const int Gap = 5;
        float[] values = StoredValues.Round(new RandomValues($"{rows} {columns}").Normal(rows * (columns + Gap)), type);
        byte[] stored = StoredValues.Encode(values, type);
        float[] actual = new float[columns * (rows + Gap)];
        Array.Fill(actual, -99);
        fixed (byte* source = stored)
        {
            fixed (float* destination = actual)
            {
                int stride = (columns + Gap) * type.Size();
                switch (type)
                {
                    case DataType.Float32:
                        Transposition.Run<StoredFloat32>(source, stride, rows, columns, destination, rows + Gap);
                        break;
                    case DataType.BFloat16:
                        Transposition.Run<StoredBFloat16>(source, stride, rows, columns, destination, rows + Gap);
                        break;
                    default:
                        Transposition.Run<StoredFloat16>(source, stride, rows, columns, destination, rows + Gap);
                        break;
                }
            }
        }

        float[] expected =
        [
            .. from column in Enumerable.Range(0, columns)
               from row in Enumerable.Range(0, rows + Gap)
               select row < rows ? values[(row * (columns + Gap)) + column] : -99,
        ];
        Bits.AssertSame(expected, actual, $"{rows} x {columns}");
    }
}
