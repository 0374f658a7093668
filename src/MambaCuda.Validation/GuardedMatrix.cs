using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>
/// A matrix inside a larger buffer: guard words before it, after it and, where its rows have gaps, between them. What is read beside an
/// input is NaN and shows in the result; what is written beside an output is found by <see cref="AssertGuardsIntact"/>. An output starts as
/// NaN, so an element that nobody wrote shows too. Where it lies decides which form of a kernel runs: with a gap that is a multiple of 8,
/// and columns that are, every row starts at a multiple of 16 bytes; with another gap none needs to, and the first does not.
/// </summary>
public sealed class GuardedMatrix : IDisposable
{
    /// <summary>
    /// The gap between rows in elements where a test asks for none in particular: odd, so that no row but the first is aligned.
    /// </summary>
    public const int UsualGap = 3;

    /// <summary>A gap that keeps rows aligned where their length does.</summary>
    public const int AlignedGap = 8;

    // In every floating-point type all ones is NaN; 0xA5A5... is a number, which a stray copy of NaN cannot equal.
    private const byte NotANumber = 0xFF;
    private const byte Guard = 0xA5;
    private const int ElementsBefore = 13;
    private const int AlignedElementsBefore = 16;
    private const int ElementsAfter = 64;

    private readonly Backend _backend;
    private readonly DeviceBuffer _buffer;
    private readonly int _rowBytes;
    private readonly int _strideBytes;
    private readonly int _firstByte;
    private readonly byte[] _written;

    private GuardedMatrix(
        Backend backend, DataType type, int rows, int columns, int gap, byte guard, byte[]? content, bool isFilledUp = false)
    {
        _backend = backend;
        _rowBytes = columns * type.Size();
        _strideBytes = (columns + gap) * type.Size();
        _firstByte = (isFilledUp || gap % AlignedGap == 0 ? AlignedElementsBefore : ElementsBefore) * type.Size();
        _written = new byte[_firstByte + (rows * _strideBytes) + (ElementsAfter * type.Size())];
        _buffer = backend.Allocate(_written.Length);
        View = _buffer.Matrix(type, rows, columns + gap, _firstByte).ColumnRange(0, columns);
        _written.AsSpan().Fill(guard);
        for (int row = 0; row < rows; row++)
        {
            Span<byte> destination = _written.AsSpan(RowStart(row), _rowBytes);
            if (content is null)
            {
                destination.Fill(NotANumber);
            }
            else
            {
                content.AsSpan(row * _rowBytes, _rowBytes).CopyTo(destination);
            }
        }

        backend.Upload<byte>(_written, Bytes);
    }

    /// <summary>The matrix.</summary>
    public MatrixView View { get; }

    private MatrixView Bytes => _buffer.Matrix(DataType.UInt8, 1, _written.Length);

    /// <summary>An operand that is only read.</summary>
    public static GuardedMatrix Input(Backend backend, DataType type, int rows, int columns, float[] values, int gap = UsualGap) =>
        new(backend, type, rows, columns, gap, NotANumber, StoredValues.Encode(values, type));

    /// <summary>An operand that is only read, its rows filled up to where the next is aligned, whatever their length.</summary>
    public static GuardedMatrix AlignedInput(Backend backend, DataType type, int rows, int columns, float[] values) => new(
        backend, type, rows, columns, AlignedGap - (columns % AlignedGap), NotANumber, StoredValues.Encode(values, type), isFilledUp: true);

    /// <summary>An operand of whole numbers that is only read.</summary>
    public static GuardedMatrix Input(Backend backend, int rows, int columns, int[] values, int gap = UsualGap) =>
        new(backend, DataType.Int32, rows, columns, gap, NotANumber, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    /// <summary>An operand that is written; with values, one that is read and written.</summary>
    public static GuardedMatrix Output(Backend backend, DataType type, int rows, int columns, float[]? values = null, int gap = UsualGap) =>
        new(backend, type, rows, columns, gap, Guard, values is null ? null : StoredValues.Encode(values, type));

    /// <summary>An operand of whole numbers that is written; with values, one that is read and written.</summary>
    public static GuardedMatrix Output<T>(Backend backend, DataType type, int rows, int columns, T[]? values, int gap = UsualGap)
        where T : unmanaged =>
        new(backend, type, rows, columns, gap, Guard, values is null ? null : MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    /// <summary>What the matrix holds now, as numbers.</summary>
    public float[] Values() => StoredValues.Decode(Content(), View.Type);

    /// <summary>What the matrix holds now, as it is stored.</summary>
    public T[] Values<T>() where T : unmanaged => MemoryMarshal.Cast<byte, T>(Content()).ToArray();

    /// <summary>Fails where a byte outside the matrix changed.</summary>
    public void AssertGuardsIntact(string name)
    {
        byte[] now = Download();
        AssertSame(now, 0, _firstByte, $"before {name}");
        for (int row = 0; row < View.Rows; row++)
        {
            AssertSame(now, RowStart(row) + _rowBytes, RowStart(row + 1), $"after row {row} of {name}");
        }

        AssertSame(now, RowStart((int)View.Rows), now.Length, $"after {name}");
    }

    /// <summary>Fails where any byte changed, of the matrix or around it.</summary>
    public void AssertUnchanged(string name) => AssertSame(Download(), 0, _written.Length, $"in or around {name}");

    /// <summary>Fails where a byte changed of the rows that <paramref name="selected"/> chooses.</summary>
    public void AssertRowsUnchanged(string name, Func<int, bool> selected)
    {
        byte[] now = Download();
        foreach (int row in Enumerable.Range(0, (int)View.Rows).Where(selected))
        {
            AssertSame(now, RowStart(row), RowStart(row) + _rowBytes, $"in row {row} of {name}");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _buffer.Dispose();

    private byte[] Content()
    {
        byte[] now = Download();
        byte[] content = new byte[View.Rows * _rowBytes];
        for (int row = 0; row < View.Rows; row++)
        {
            now.AsSpan(RowStart(row), _rowBytes).CopyTo(content.AsSpan(row * _rowBytes));
        }

        return content;
    }

    private int RowStart(int row) => _firstByte + (row * _strideBytes);

    private void AssertSame(byte[] now, int start, int end, string where)
    {
        if (!now.AsSpan(start, end - start).SequenceEqual(_written.AsSpan(start, end - start)))
        {
            throw new GuardException($"Memory was changed {where}, {View}.");
        }
    }

    private byte[] Download()
    {
        byte[] now = new byte[_written.Length];
        _backend.Download<byte>(Bytes, now);
        return now;
    }
}
