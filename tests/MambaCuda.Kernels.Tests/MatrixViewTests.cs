namespace MambaCuda.Kernels.Tests;

/// <summary>Views stay inside their buffers.</summary>
public class MatrixViewTests
{
    [Fact]
    public void Ranges_keep_the_row_stride()
    {
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Allocate(1000);
        MatrixView all = buffer.Matrix(DataType.BFloat16, 10, 20, byteOffset: 6);
        MatrixView part = all.RowRange(2, 3).ColumnRange(5, 7);
        Assert.Equal(6 + (((2 * 20) + 5) * 2), part.ByteOffset);
        Assert.Equal((3, 7, 20), (part.Rows, part.Columns, part.RowStride));
        Assert.False(part.IsContiguous);
        Assert.True(all.IsContiguous);
        Assert.True(part.RowRange(0, 1).IsContiguous);
        Assert.Equal("(3 x 7) BFloat16", part.ToString());
        Assert.Same(buffer, part.Buffer);
        Assert.Equal("none", default(MatrixView).ToString());
        Assert.True(default(MatrixView).IsNone);
    }

    [Theory]
    [InlineData(6, 5, 0), InlineData(5, 5, 4), InlineData(1, 26, 0), InlineData(-1, 4, 0)]
    [InlineData(1, -1, 0), InlineData(1, 1, -4), InlineData(1, 1, 100)]
    [InlineData(0, 1, 101), InlineData(long.MaxValue, 1, 0), InlineData(long.MaxValue, int.MaxValue, 0)]
    [InlineData(1L << 62, 1, 0), InlineData(1, 1, long.MaxValue)]
    public void What_does_not_fit_is_refused(long rows, int columns, long byteOffset)
    {
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Allocate(100);
        ShapeException exception = Assert.Throws<ShapeException>(() => buffer.Matrix(DataType.Float32, rows, columns, byteOffset));
        Assert.Contains($"{rows} x {columns}", exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5, 5, 0), InlineData(1, 25, 0), InlineData(25, 1, 0), InlineData(1, 1, 96), InlineData(0, 5, 100), InlineData(5, 0, 0)]
    public void What_fits_is_given(long rows, int columns, long byteOffset)
    {
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Allocate(100);
        Assert.Equal(rows, buffer.Matrix(DataType.Float32, rows, columns, byteOffset).Rows);
    }

    [Theory, InlineData(-1, 1), InlineData(0, 6), InlineData(5, 1), InlineData(3, -1), InlineData(6, 0)]
    public void Rows_and_columns_outside_are_refused(int start, int count)
    {
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Allocate(100);
        MatrixView view = buffer.Matrix(DataType.Float32, 5, 5);
        ShapeException rows = Assert.Throws<ShapeException>(() => view.RowRange(start, count));
        ShapeException columns = Assert.Throws<ShapeException>(() => view.ColumnRange(start, count));
        Assert.Equal($"Rows [{start}, {start} + {count}) are not inside (5 x 5) Float32.", rows.Message);
        Assert.Equal($"Columns [{start}, {start} + {count}) are not inside (5 x 5) Float32.", columns.Message);
    }

    [Fact]
    public void Nothing_has_no_parts()
    {
        Assert.Throws<ShapeException>(() => default(MatrixView).RowRange(0, 0));
        Assert.Throws<ShapeException>(() => default(MatrixView).ColumnRange(0, 0));
    }

    [Fact]
    public void Sizes_are_those_of_the_types()
    {
        foreach (DataType type in Enum.GetValues<DataType>())
        {
            Assert.InRange(type.Size(), 1, 8);
            Assert.Equal(type is DataType.Float32 or DataType.BFloat16 or DataType.Float16, type.IsWeightType());
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => ((DataType)99).Size());
    }
}
