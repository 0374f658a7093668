namespace MambaCuda.Driver;

/// <summary>
/// Host memory that stays where it is, so that the device copies from and to it while the host goes on: allocated here, or the
/// caller's own that was pinned here. <see cref="Dispose"/> frees it or ends the pinning; it must no longer be in use by the device.
/// </summary>
public sealed unsafe class PinnedMemory : IDisposable
{
    private readonly nint _address;
    private int _disposed;

    private PinnedMemory(CudaContext context, nint address, long byteLength, bool isOwned)
    {
        Context = context;
        ByteLength = byteLength;
        IsOwned = isOwned;
        _address = address;
    }

    /// <summary>The context that it was pinned in.</summary>
    public CudaContext Context { get; }

    /// <summary>The length in bytes.</summary>
    public long ByteLength { get; }

    /// <summary>Whether the memory itself was allocated here; false for the caller's, of which only the pinning ends.</summary>
    public bool IsOwned { get; }

    /// <summary>The first byte.</summary>
    /// <exception cref="ObjectDisposedException">It was given back.</exception>
    public nint Address
    {
        get
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
            return _address;
        }
    }

    /// <summary>The address under which kernels reach it.</summary>
    public nint DeviceAddress
    {
        get
        {
            using CudaContextScope scope = Context.Activate();
            CudaException.ThrowIfFailed(
                CudaApi.cuMemHostGetDevicePointer_v2(out nint device, Address, 0), "finding the device's address of pinned memory");
            return device;
        }
    }

    /// <summary>All of it.</summary>
    public PinnedSpan Span => new(this, 0, ByteLength);

    /// <summary>A part of it.</summary>
    /// <param name="byteOffset">The first byte.</param>
    /// <param name="byteLength">The number of bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is not inside.</exception>
    public PinnedSpan Slice(long byteOffset, long byteLength) => Span.Slice(byteOffset, byteLength);

    /// <summary>All of it as elements of the host; a rest smaller than an element is left out.</summary>
    /// <exception cref="OverflowException">There are more elements than a span can hold; take a slice.</exception>
    public Span<T> Elements<T>() where T : unmanaged => Span.Elements<T>();

    /// <summary>All of it.</summary>
    public static implicit operator PinnedSpan(PinnedMemory memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        return memory.Span;
    }

    /// <summary>All of it.</summary>
    public PinnedSpan ToPinnedSpan() => Span;

    /// <summary>Frees the memory, or ends the pinning. A second call does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            Context.Release(_address, IsOwned ? CudaApi.cuMemFreeHost : CudaApi.cuMemHostUnregister);
        }
    }

    internal static PinnedMemory Allocate(CudaContext context, long byteLength, bool writeCombined)
    {
        const uint WriteCombined = 4;
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        using CudaContextScope scope = context.Activate();
        CudaError error = CudaApi.cuMemHostAlloc(out nint address, (nuint)Math.Max(byteLength, 1), writeCombined ? WriteCombined : 0);
        DeviceMemory.ThrowIfFailed(error, context, byteLength, "allocating pinned host memory");
        return new PinnedMemory(context, address, byteLength, isOwned: true);
    }

    internal static PinnedMemory Register(CudaContext context, nint address, long byteLength, bool readOnly)
    {
        const uint ReadOnly = 8;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(byteLength);
        if (address == 0)
        {
            throw new ArgumentException("Zero is no address.", nameof(address));
        }

        using CudaContextScope scope = context.Activate();
        CudaError error = CudaApi.cuMemHostRegister_v2(address, (nuint)byteLength, readOnly ? ReadOnly : 0);
        DeviceMemory.ThrowIfFailed(error, context, byteLength, "pinning host memory");
        return new PinnedMemory(context, address, byteLength, isOwned: false);
    }
}
