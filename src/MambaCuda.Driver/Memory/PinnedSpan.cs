namespace MambaCuda.Driver;

/// <summary>A part of a <see cref="PinnedMemory"/>; offsets and lengths are in bytes and 64-bit.</summary>
public readonly unsafe struct PinnedSpan
{
    internal PinnedSpan(PinnedMemory memory, long byteOffset, long byteLength)
    {
        Memory = memory;
        ByteOffset = byteOffset;
        ByteLength = byteLength;
    }

    /// <summary>The memory that it is a part of; null for the default value, which is empty.</summary>
    public PinnedMemory? Memory { get; }

    /// <summary>Where it begins in the memory.</summary>
    public long ByteOffset { get; }

    /// <summary>Its length.</summary>
    public long ByteLength { get; }

    /// <summary>The address on the host; zero for the default value.</summary>
    /// <exception cref="ObjectDisposedException">The memory was given back.</exception>
    public nint Address => Memory is null ? 0 : checked((nint)(Memory.Address + ByteOffset));

    /// <summary>A part of this part.</summary>
    /// <param name="byteOffset">The first byte.</param>
    /// <param name="byteLength">The number of bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is not inside.</exception>
    public PinnedSpan Slice(long byteOffset, long byteLength)
    {
        ByteRange.Check(byteOffset, byteLength, ByteLength);
        return new PinnedSpan(Memory!, ByteOffset + byteOffset, byteLength);
    }

    /// <summary>The elements, on the host; a rest smaller than an element is left out.</summary>
    /// <exception cref="OverflowException">There are more elements than a span can hold; take a slice.</exception>
    public Span<T> Elements<T>() where T : unmanaged => new((void*)Address, checked((int)(ByteLength / sizeof(T))));
}
