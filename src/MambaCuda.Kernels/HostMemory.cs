using System.Runtime.InteropServices;

namespace MambaCuda.Kernels;

/// <summary>
/// Host memory with an owner: allocated here, or a file mapped by someone else. Addressed with 64-bit offsets,
/// because one tensor may pass what a span can hold.
/// </summary>
public abstract unsafe class HostMemory : IDisposable
{
    /// <summary>The length in bytes.</summary>
    public abstract long ByteLength { get; }

    /// <summary>The first byte; valid until <see cref="Dispose()"/>.</summary>
    /// <exception cref="ObjectDisposedException">The memory was given back.</exception>
    public abstract byte* Pointer { get; }

    /// <summary>A part of the memory.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="length">The number of bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the memory.</exception>
    public ReadOnlySpan<byte> Span(long offset, int length)
    {
        CheckRange(offset, length);
        return new ReadOnlySpan<byte>(Pointer + offset, length);
    }

    /// <summary>Throws where [offset, offset + length) does not lie inside the memory.</summary>
    public void CheckRange(long offset, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, ByteLength - offset, nameof(length));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the memory back; called at most as often as <see cref="Dispose()"/>.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>Zeroed memory from the C heap, aligned to 64 bytes (a cache line, and the widest vector).</summary>
public sealed unsafe class NativeHostMemory : HostMemory
{
    private const int Alignment = 64;
    private byte* _pointer;

    /// <summary>Allocates <paramref name="byteLength"/> zeroed bytes.</summary>
    /// <exception cref="OutOfMemoryException">The system has not that much; the message says how much was asked for.</exception>
    public NativeHostMemory(long byteLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        ByteLength = byteLength;
        try
        {
            _pointer = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(byteLength, 1), Alignment);
        }
        catch (OutOfMemoryException)
        {
            throw new InsufficientMemoryException($"The system could not allocate {byteLength:N0} bytes of host memory.");
        }

        NativeMemory.Clear(_pointer, (nuint)byteLength);
    }

    /// <inheritdoc/>
    public override long ByteLength { get; }

    /// <inheritdoc/>
    public override byte* Pointer => _pointer != null ? _pointer : throw new ObjectDisposedException(nameof(NativeHostMemory));

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        NativeMemory.AlignedFree(_pointer);
        _pointer = null;
    }
}
