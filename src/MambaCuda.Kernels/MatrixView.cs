namespace MambaCuda.Kernels;

/// <summary>
/// Rows and columns of elements in a <see cref="DeviceBuffer"/>; columns are contiguous, rows may have gaps between them
/// (x and z are columns of one projection, delta, B and C of another). Every operand of every operation is one:
/// activations are (tokens, channels), per-channel parameters (k, channels); the channel is innermost everywhere.
/// The default value means "none" where an operand may be left out.
/// </summary>
public readonly struct MatrixView
{
    internal MatrixView(DeviceBuffer buffer, long byteOffset, DataType type, long rows, int columns, long rowStride)
    {
        if (rows < 0 || columns < 0 || rowStride < columns || byteOffset < 0)
        {
            throw new ShapeException($"A view of {rows} x {columns} with row stride {rowStride} at byte {byteOffset} is not possible.");
        }

        // Wider than 64 bits, so that sizes which nobody has are refused and not wrapped around.
        Int128 elements = rows == 0 || columns == 0 ? 0 : ((Int128)(rows - 1) * rowStride) + columns;
        if (elements * type.Size() > buffer.ByteLength - byteOffset)
        {
            throw new ShapeException(
                $"A view of {rows} x {columns} {type} (row stride {rowStride}) at byte {byteOffset} does not fit into a buffer of "
                + $"{buffer.ByteLength} bytes.");
        }

        Buffer = buffer;
        ByteOffset = byteOffset;
        Type = type;
        Rows = rows;
        Columns = columns;
        RowStride = rowStride;
    }

    /// <summary>The buffer, or null for "none".</summary>
    public DeviceBuffer? Buffer { get; }

    /// <summary>Where the first element lies in the buffer, in bytes.</summary>
    public long ByteOffset { get; }

    /// <summary>The element type.</summary>
    public DataType Type { get; }

    /// <summary>The number of rows.</summary>
    public long Rows { get; }

    /// <summary>The number of columns.</summary>
    public int Columns { get; }

    /// <summary>The distance between the starts of two rows, in elements.</summary>
    public long RowStride { get; }

    /// <summary>Whether this is "none".</summary>
    public bool IsNone => Buffer is null;

    /// <summary>The bytes of all elements, gaps not counted; 0 for "none".</summary>
    public long ByteLength => IsNone ? 0 : Rows * Columns * Type.Size();

    /// <summary>Whether the rows follow each other without gaps.</summary>
    public bool IsContiguous => RowStride == Columns || Rows <= 1;

    /// <summary>Rows [start, start + count).</summary>
    /// <exception cref="ShapeException">They are not all there.</exception>
    public MatrixView RowRange(long start, long count)
    {
        if (IsNone || start < 0 || count < 0 || count > Rows - start)
        {
            throw new ShapeException($"Rows [{start}, {start} + {count}) are not inside {this}.");
        }

        return new MatrixView(Buffer!, ByteOffset + (start * RowStride * Type.Size()), Type, count, Columns, RowStride);
    }

    /// <summary>Columns [start, start + count) of every row.</summary>
    /// <exception cref="ShapeException">They are not all there.</exception>
    public MatrixView ColumnRange(int start, int count)
    {
        if (IsNone || start < 0 || count < 0 || count > Columns - start)
        {
            throw new ShapeException($"Columns [{start}, {start} + {count}) are not inside {this}.");
        }

        return new MatrixView(Buffer!, ByteOffset + ((long)start * Type.Size()), Type, Rows, count, RowStride);
    }

    /// <summary>Shape and type, for messages.</summary>
    public override string ToString() => IsNone ? "none" : $"({Rows} x {Columns}) {Type}";
}
