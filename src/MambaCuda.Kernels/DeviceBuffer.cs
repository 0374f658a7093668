namespace MambaCuda.Kernels;

/// <summary>
/// Memory on the device that a <see cref="Backend"/> computes on. Owned by whoever allocated it and given back by
/// <see cref="Dispose()"/>, never by a finalizer; read and written through views (<see cref="MatrixView"/>).
/// </summary>
public abstract class DeviceBuffer : IDisposable
{
    /// <summary>Creates a buffer of the backend.</summary>
    protected DeviceBuffer(Backend backend, long byteLength)
    {
        Backend = backend;
        ByteLength = byteLength;
    }

    /// <summary>The backend whose memory this is.</summary>
    public Backend Backend { get; }

    /// <summary>The length in bytes.</summary>
    public long ByteLength { get; }

    /// <summary>The whole buffer, or its start, as a matrix without gaps between its rows.</summary>
    /// <param name="type">The element type.</param>
    /// <param name="rows">The number of rows.</param>
    /// <param name="columns">The number of columns.</param>
    /// <param name="byteOffset">Where the first element lies.</param>
    /// <exception cref="ShapeException">The matrix does not fit into the buffer.</exception>
    public MatrixView Matrix(DataType type, long rows, int columns, long byteOffset = 0) =>
        new(this, byteOffset, type, rows, columns, columns);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the memory back; a second call does nothing.</summary>
    protected abstract void Dispose(bool disposing);
}
