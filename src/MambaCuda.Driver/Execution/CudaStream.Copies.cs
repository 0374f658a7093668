using System.Runtime.InteropServices;

namespace MambaCuda.Driver;

public sealed unsafe partial class CudaStream
{
    /// <summary>Copies from ordinary host memory to the device, and waits, so that the host memory can be used again.</summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void Upload<T>(ReadOnlySpan<T> source, DeviceSpan destination) where T : unmanaged
    {
        ByteRange.CheckSame((long)source.Length * sizeof(T), destination.ByteLength);
        fixed (T* pointer = &MemoryMarshal.GetReference(source))
        {
            Upload((nint)pointer, destination);
        }
    }

    /// <summary>Copies as many bytes as the destination has from ordinary host memory to the device, and waits.</summary>
    /// <param name="source">The first byte.</param>
    /// <param name="destination">Where to.</param>
    public void Upload(nint source, DeviceSpan destination)
    {
        CopyIn(source, destination);
        Synchronize();
    }

    /// <summary>Copies from the device to ordinary host memory, and waits until it is there.</summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void Download<T>(DeviceSpan source, Span<T> destination) where T : unmanaged
    {
        ByteRange.CheckSame(source.ByteLength, (long)destination.Length * sizeof(T));
        fixed (T* pointer = &MemoryMarshal.GetReference(destination))
        {
            Download(source, (nint)pointer);
        }
    }

    /// <summary>Copies from the device to ordinary host memory, and waits until it is there.</summary>
    /// <param name="source">From where.</param>
    /// <param name="destination">The first byte of as many as the source has.</param>
    public void Download(DeviceSpan source, nint destination)
    {
        CopyOut(source, destination);
        Synchronize();
    }

    /// <summary>
    /// Copies from pinned memory to the device, without waiting: the pinned memory must stay as it is until the stream has come so far.
    /// </summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void Copy(PinnedSpan source, DeviceSpan destination)
    {
        ByteRange.CheckSame(source.ByteLength, destination.ByteLength);
        CopyIn(source.Address, destination);
    }

    /// <summary>Copies from the device to pinned memory, without waiting: the bytes are there when the stream has come so far.</summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void Copy(DeviceSpan source, PinnedSpan destination)
    {
        ByteRange.CheckSame(source.ByteLength, destination.ByteLength);
        CopyOut(source, destination.Address);
    }

    /// <summary>Copies on the device. The two must not overlap.</summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public void Copy(DeviceSpan source, DeviceSpan destination)
    {
        ByteRange.CheckSame(source.ByteLength, destination.ByteLength);
        using CudaContextScope scope = Context.Activate();
        if (source.ByteLength > 0)
        {
            CudaException.ThrowIfFailed(
                CudaApi.cuMemcpyDtoDAsync_v2(destination.Address, source.Address, (nuint)source.ByteLength, Handle),
                $"copying {source.ByteLength} bytes on the device");
        }
    }

    /// <summary>Sets every byte to zero.</summary>
    public void Clear(DeviceSpan destination) => Fill(destination, (byte)0);

    /// <summary>Sets every byte.</summary>
    public void Fill(DeviceSpan destination, byte value)
    {
        using CudaContextScope scope = Context.Activate();
        if (destination.ByteLength > 0)
        {
            CudaException.ThrowIfFailed(
                CudaApi.cuMemsetD8Async(destination.Address, value, (nuint)destination.ByteLength, Handle),
                $"filling {destination.ByteLength} bytes");
        }
    }

    /// <summary>Sets every pair of bytes.</summary>
    /// <exception cref="ArgumentException">The length is no multiple of 2.</exception>
    public void Fill(DeviceSpan destination, ushort value)
    {
        nuint count = CountOf(destination, sizeof(ushort));
        using CudaContextScope scope = Context.Activate();
        if (count > 0)
        {
            CudaException.ThrowIfFailed(
                CudaApi.cuMemsetD16Async(destination.Address, value, count, Handle), $"filling {destination.ByteLength} bytes");
        }
    }

    /// <summary>Sets every four bytes.</summary>
    /// <exception cref="ArgumentException">The length is no multiple of 4.</exception>
    public void Fill(DeviceSpan destination, uint value)
    {
        nuint count = CountOf(destination, sizeof(uint));
        using CudaContextScope scope = Context.Activate();
        if (count > 0)
        {
            CudaException.ThrowIfFailed(
                CudaApi.cuMemsetD32Async(destination.Address, value, count, Handle), $"filling {destination.ByteLength} bytes");
        }
    }

    /// <summary>Sets every four bytes to a float32.</summary>
    /// <exception cref="ArgumentException">The length is no multiple of 4.</exception>
    public void Fill(DeviceSpan destination, float value) => Fill(destination, BitConverter.SingleToUInt32Bits(value));

    private void CopyIn(nint source, DeviceSpan destination)
    {
        using CudaContextScope scope = Context.Activate();
        if (destination.ByteLength > 0)
        {
            CudaException.ThrowIfFailed(
                CudaApi.cuMemcpyHtoDAsync_v2(destination.Address, (void*)source, (nuint)destination.ByteLength, Handle),
                $"copying {destination.ByteLength} bytes to the device");
        }
    }

    private void CopyOut(DeviceSpan source, nint destination)
    {
        using CudaContextScope scope = Context.Activate();
        if (source.ByteLength > 0)
        {
            CudaException.ThrowIfFailed(
                CudaApi.cuMemcpyDtoHAsync_v2((void*)destination, source.Address, (nuint)source.ByteLength, Handle),
                $"copying {source.ByteLength} bytes from the device");
        }
    }

    private static nuint CountOf(DeviceSpan destination, int size) => destination.ByteLength % size == 0
        ? (nuint)(destination.ByteLength / size)
        : throw new ArgumentException(
            $"{destination.ByteLength} bytes are no whole number of elements of {size} bytes.", nameof(destination));
}
