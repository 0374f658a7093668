namespace MambaCuda.Driver;

/// <summary>
/// A context: what holds memory, modules and streams on one device. Either a part taken in the device's primary context
/// (<see cref="CudaDevice.RetainPrimaryContext"/>), or somebody else's (<see cref="Adopt"/>), which is never destroyed here.
/// Methods of everything made from it make it current on the calling thread for as long as they run, and leave the thread as
/// it was; so any thread can call them. Dispose of what was made from it first: afterwards its memory is no longer there.
/// </summary>
public sealed class CudaContext : IDisposable
{
    private int _disposed;
    private long _allocatedBytes;
    private long _peakAllocatedBytes;

    internal CudaContext(CudaDevice device, nint handle, bool isOwned)
    {
        Device = device;
        Handle = handle;
        IsOwned = isOwned;
    }

    /// <summary>Uses a context that something else made and will destroy, such as ManagedCuda, ILGPU or TorchSharp.</summary>
    /// <param name="handle">The CUcontext.</param>
    /// <exception cref="CudaException">It is no context.</exception>
    public static CudaContext Adopt(nint handle)
    {
        CudaDriver.ThrowIfUnavailable();
        if (handle == 0)
        {
            throw new ArgumentException("Zero is no context.", nameof(handle));
        }

        using CudaContextScope scope = CudaContextScope.Enter(handle);
        CudaException.ThrowIfFailed(CudaApi.cuCtxGetDevice(out int device), "finding the device of an adopted context");
        return new CudaContext(CudaDevice.OfHandle(device), handle, isOwned: false);
    }

    /// <summary>Uses the context that is current on this thread; null where there is none.</summary>
    public static CudaContext? AdoptCurrent()
    {
        CudaDriver.ThrowIfUnavailable();
        CudaException.ThrowIfFailed(CudaApi.cuCtxGetCurrent(out nint handle), "reading the current context");
        return handle == 0 ? null : Adopt(handle);
    }

    /// <summary>The device.</summary>
    public CudaDevice Device { get; }

    /// <summary>The driver's handle (CUcontext).</summary>
    public nint Handle { get; }

    /// <summary>Whether <see cref="Dispose"/> gives something back; false for an adopted context.</summary>
    public bool IsOwned { get; }

    /// <summary>Whether it was disposed of here.</summary>
    public bool IsDisposed => Volatile.Read(ref _disposed) != 0;

    /// <summary>How much memory the device has, and has free over all processes.</summary>
    public DeviceMemoryInfo Memory
    {
        get
        {
            using CudaContextScope scope = Activate();
            CudaException.ThrowIfFailed(
                CudaApi.cuMemGetInfo_v2(out nuint free, out nuint total), $"reading how much memory of {Device} is free");
            return new DeviceMemoryInfo((long)free, (long)total);
        }
    }

    /// <summary>The bytes of device memory that were allocated by way of this object and not freed yet.</summary>
    public long AllocatedBytes => Volatile.Read(ref _allocatedBytes);

    /// <summary>The most that <see cref="AllocatedBytes"/> has been, from the start or since <see cref="ResetPeakAllocatedBytes"/>.</summary>
    public long PeakAllocatedBytes => Volatile.Read(ref _peakAllocatedBytes);

    /// <summary>Lets <see cref="PeakAllocatedBytes"/> start from what is allocated now.</summary>
    public void ResetPeakAllocatedBytes() => Volatile.Write(ref _peakAllocatedBytes, AllocatedBytes);

    /// <summary>The priorities that streams can have: a lower number runs first.</summary>
    public (int Least, int Greatest) StreamPriorities
    {
        get
        {
            using CudaContextScope scope = Activate();
            CudaException.ThrowIfFailed(
                CudaApi.cuCtxGetStreamPriorityRange(out int least, out int greatest), "reading the range of stream priorities");
            return (least, greatest);
        }
    }

    /// <summary>
    /// Makes this context current on the calling thread until the result is disposed of. Only needed around calls of other libraries.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The context was disposed of.</exception>
    public CudaContextScope Activate()
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        return CudaContextScope.Enter(Handle);
    }

    /// <summary>Waits until everything that was started in the context is done; errors of kernels come out here.</summary>
    public void Synchronize()
    {
        using CudaContextScope scope = Activate();
        CudaException.ThrowIfFailed(CudaApi.cuCtxSynchronize(), $"waiting for {Device}");
    }

    /// <summary>Creates a stream.</summary>
    /// <param name="priority">A number from <see cref="StreamPriorities"/>; beyond it, the nearest is taken.</param>
    public CudaStream CreateStream(int priority = 0) => CudaStream.Create(this, priority);

    /// <summary>The context's default stream, with which other streams of blocking kind wait for each other.</summary>
    public CudaStream DefaultStream => CudaStream.Adopt(this, 0);

    /// <summary>Creates an event.</summary>
    /// <param name="timing">Whether it measures time; one that does not costs less.</param>
    /// <param name="blocking">Whether a thread that waits for it sleeps, instead of spinning.</param>
    public CudaEvent CreateEvent(bool timing = true, bool blocking = false) => CudaEvent.Create(this, timing, blocking);

    /// <summary>Allocates device memory. It is not cleared.</summary>
    /// <param name="byteLength">The length in bytes; zero is allowed.</param>
    /// <exception cref="DeviceOutOfMemoryException">There is not that much.</exception>
    public DeviceMemory Allocate(long byteLength) => DeviceMemory.Allocate(this, byteLength);

    /// <summary>Allocates device memory for elements. It is not cleared.</summary>
    /// <param name="count">The number of elements.</param>
    /// <exception cref="DeviceOutOfMemoryException">There is not that much.</exception>
    public unsafe DeviceMemory Allocate<T>(long count) where T : unmanaged => DeviceMemory.Allocate(this, checked(count * sizeof(T)));

    /// <summary>Allocates host memory that the device reads and writes without a detour. It is not cleared.</summary>
    /// <param name="byteLength">The length in bytes; zero is allowed.</param>
    /// <param name="writeCombined">Whether the host only writes it: faster to transfer, very slow to read on the host.</param>
    /// <exception cref="DeviceOutOfMemoryException">The system does not give that much.</exception>
    public PinnedMemory AllocatePinned(long byteLength, bool writeCombined = false) =>
        PinnedMemory.Allocate(this, byteLength, writeCombined);

    /// <summary>
    /// Pins host memory that is already there, for as long as the result lives. The memory stays the caller's, and must outlive it.
    /// </summary>
    /// <param name="address">The first byte.</param>
    /// <param name="byteLength">The length in bytes.</param>
    /// <param name="readOnly">Whether the device only reads it; needed for memory that is mapped for reading.</param>
    public PinnedMemory Pin(nint address, long byteLength, bool readOnly = false) =>
        PinnedMemory.Register(this, address, byteLength, readOnly);

    /// <summary>Loads a cubin or a PTX text.</summary>
    /// <param name="image">The bytes; a PTX text needs no zero at its end.</param>
    /// <exception cref="CudaException">It does not fit the device or the driver, or PTX does not assemble; the message holds the
    /// log.</exception>
    public CudaModule LoadModule(ReadOnlySpan<byte> image) => CudaModule.Load(this, image);

    /// <summary>Gives back the part in the primary context; does nothing for an adopted one. A second call does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0 && IsOwned)
        {
            _ = CudaApi.cuDevicePrimaryCtxRelease_v2(Device.Handle);
        }
    }

    /// <summary>Takes account of memory that was allocated, or, where negative, freed.</summary>
    internal void CountMemory(long bytes)
    {
        long now = Interlocked.Add(ref _allocatedBytes, bytes);
        for (long peak = PeakAllocatedBytes; peak < now;)
        {
            long seen = Interlocked.CompareExchange(ref _peakAllocatedBytes, now, peak);
            peak = seen == peak ? now : seen;
        }
    }

    /// <summary>
    /// Runs a call that gives something back. What it answers does not matter: the context may have been lost to a kernel's error
    /// that was reported already, and throwing from Dispose would hide that one.
    /// </summary>
    internal void Release(nint handle, Func<nint, CudaError> release)
    {
        if (IsDisposed)
        {
            return;
        }

        using CudaContextScope scope = CudaContextScope.TryEnter(Handle, out bool entered);
        if (entered)
        {
            _ = release(handle);
        }
    }
}
