namespace MambaCuda.Kernels.Tests;

/// <summary>Zeroed matrices for tests that ask for shapes only, given back together.</summary>
internal sealed class OperandArena(Backend backend) : IDisposable
{
    private readonly List<DeviceBuffer> _buffers = [];

    /// <summary>A matrix.</summary>
    public MatrixView New(DataType type, long rows, int columns)
    {
        _buffers.Add(backend.Allocate(Math.Max(1, rows * columns * type.Size())));
        return _buffers[^1].Matrix(type, rows, columns);
    }

    /// <summary>A float32 matrix.</summary>
    public MatrixView Float32(long rows, int columns) => New(DataType.Float32, rows, columns);

    /// <summary>A column of whole numbers.</summary>
    public MatrixView Integers(params int[] values)
    {
        MatrixView view = New(DataType.Int32, values.Length, 1);
        backend.Upload<int>(values, view);
        return view;
    }

    public void Dispose() => _buffers.ForEach(buffer => buffer.Dispose());
}
