namespace MambaCuda.Driver;

/// <summary>A part of a <see cref="DeviceMemory"/>; offsets and lengths are in bytes and 64-bit.</summary>
public readonly struct DeviceSpan
{
    internal DeviceSpan(DeviceMemory memory, long byteOffset, long byteLength)
    {
        Memory = memory;
        ByteOffset = byteOffset;
        ByteLength = byteLength;
    }

    /// <summary>The memory that it is a part of; null for the default value, which is empty.</summary>
    public DeviceMemory? Memory { get; }

    /// <summary>Where it begins in the memory.</summary>
    public long ByteOffset { get; }

    /// <summary>Its length.</summary>
    public long ByteLength { get; }

    /// <summary>The address on the device; zero for the default value.</summary>
    /// <exception cref="ObjectDisposedException">The memory was given back.</exception>
    public nint Address => Memory is null ? 0 : checked((nint)(Memory.Address + ByteOffset));

    /// <summary>A part of this part.</summary>
    /// <param name="byteOffset">The first byte.</param>
    /// <param name="byteLength">The number of bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is not inside.</exception>
    public DeviceSpan Slice(long byteOffset, long byteLength)
    {
        ByteRange.Check(byteOffset, byteLength, ByteLength);
        return new DeviceSpan(Memory!, ByteOffset + byteOffset, byteLength);
    }
}
