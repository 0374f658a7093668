using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>Cuts a buffer into aligned views, one behind the other; without a buffer it gives none and only counts.</summary>
internal struct BufferCutter(DeviceBuffer? buffer)
{
    private const int Alignment = 256;

    /// <summary>The bytes of all views so far.</summary>
    public long ByteLength { get; private set; }

    /// <summary>Goes on behind what another cutter has cut of the same buffer too: what both have cut shares memory.</summary>
    public void Join(BufferCutter other) => ByteLength = Math.Max(ByteLength, other.ByteLength);

    public MatrixView Next(DataType type, long rows, int columns)
    {
        MatrixView view = buffer?.Matrix(type, rows, columns, ByteLength) ?? default;
        long bytes = checked(rows * columns * type.Size());
        ByteLength += (bytes + Alignment - 1) / Alignment * Alignment;
        return view;
    }
}
