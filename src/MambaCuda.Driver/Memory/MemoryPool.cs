namespace MambaCuda.Driver;

/// <summary>
/// What stream-ordered allocations come from: freed memory stays in the pool and is handed out again without asking the system.
/// Either a device's own (<see cref="CudaDevice.DefaultMemoryPool"/>), or one created here.
/// </summary>
public sealed unsafe class MemoryPool : IDisposable
{
    private readonly nint _handle;
    private readonly bool _isOwned;
    private int _disposed;

    internal MemoryPool(CudaDevice device, nint handle, bool isOwned)
    {
        Device = device;
        _handle = handle;
        _isOwned = isOwned;
    }

    /// <summary>The device.</summary>
    public CudaDevice Device { get; }

    /// <summary>The driver's handle (CUmemoryPool).</summary>
    /// <exception cref="ObjectDisposedException">The pool was destroyed.</exception>
    public nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
            return _handle;
        }
    }

    /// <summary>
    /// How many unused bytes stay in the pool when a stream or the device is waited for; 0 unless set, so that each wait gives all back.
    /// </summary>
    public long ReleaseThreshold
    {
        get => Get(MemoryPoolAttribute.ReleaseThreshold);
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            ulong bytes = (ulong)value;
            CudaException.ThrowIfFailed(
                CudaApi.cuMemPoolSetAttribute(Handle, MemoryPoolAttribute.ReleaseThreshold, &bytes),
                $"setting the release threshold of a memory pool to {value} bytes");
        }
    }

    /// <summary>Bytes that the pool has taken from the device.</summary>
    public long ReservedBytes => Get(MemoryPoolAttribute.ReservedNow);

    /// <summary>The most bytes that the pool ever had taken.</summary>
    public long PeakReservedBytes => Get(MemoryPoolAttribute.ReservedHigh);

    /// <summary>Bytes that are allocated from the pool.</summary>
    public long UsedBytes => Get(MemoryPoolAttribute.UsedNow);

    /// <summary>The most bytes that ever were allocated.</summary>
    public long PeakUsedBytes => Get(MemoryPoolAttribute.UsedHigh);

    /// <summary>Allocates in the order of a stream: what the stream does afterwards can use it. It is not cleared.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="byteLength">The length in bytes; zero is allowed.</param>
    /// <exception cref="DeviceOutOfMemoryException">There is not that much.</exception>
    public DeviceMemory Allocate(CudaStream stream, long byteLength)
    {
        ArgumentNullException.ThrowIfNull(stream);
        return DeviceMemory.Allocate(stream, this, byteLength);
    }

    /// <summary>Gives unused memory back to the device.</summary>
    /// <param name="bytesToKeep">What may stay.</param>
    public void TrimTo(long bytesToKeep)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytesToKeep);
        CudaException.ThrowIfFailed(CudaApi.cuMemPoolTrimTo(Handle, (nuint)bytesToKeep), $"trimming a memory pool to {bytesToKeep} bytes");
    }

    /// <summary>
    /// Destroys a pool that was created here, once all that was allocated from it is freed; does nothing for a device's own.
    /// </summary>
    public void Dispose()
    {
        if (_isOwned && Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _ = CudaApi.cuMemPoolDestroy(_handle);
        }
    }

    private long Get(MemoryPoolAttribute attribute)
    {
        ulong value;
        CudaException.ThrowIfFailed(CudaApi.cuMemPoolGetAttribute(Handle, attribute, &value), $"reading {attribute} of a memory pool");
        return value > long.MaxValue ? long.MaxValue : (long)value;
    }
}
