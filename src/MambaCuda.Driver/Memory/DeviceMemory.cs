namespace MambaCuda.Driver;

/// <summary>
/// A piece of device memory: allocated here, or somebody else's (<see cref="Adopt"/>). What was allocated here is given back by
/// <see cref="Dispose"/> and by nothing else, no finalizer; what is somebody else's is never given back here.
/// </summary>
public sealed class DeviceMemory : IDisposable
{
    private readonly Origin _origin;
    private readonly CudaStream? _stream;
    private readonly nint _address;
    private int _disposed;

    private DeviceMemory(CudaContext context, nint address, long byteLength, Origin origin, CudaStream? stream = null)
    {
        Context = context;
        ByteLength = byteLength;
        _address = address;
        _origin = origin;
        _stream = stream;
        if (IsOwned)
        {
            context.CountMemory(byteLength);
        }
    }

    private enum Origin
    {
        Adopted,
        Allocated,
        StreamOrdered,
    }

    /// <summary>Uses memory that something else allocated and will free, such as ManagedCuda, ILGPU or TorchSharp.</summary>
    /// <param name="context">The context that it belongs to.</param>
    /// <param name="address">The CUdeviceptr.</param>
    /// <param name="byteLength">How much of it is used here.</param>
    public static DeviceMemory Adopt(CudaContext context, nint address, long byteLength)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        return address == 0 && byteLength > 0
            ? throw new ArgumentException("Zero is no device address.", nameof(address))
            : new DeviceMemory(context, address, byteLength, Origin.Adopted);
    }

    /// <summary>The context that it belongs to.</summary>
    public CudaContext Context { get; }

    /// <summary>The length in bytes.</summary>
    public long ByteLength { get; }

    /// <summary>Whether <see cref="Dispose"/> frees it; false for adopted memory.</summary>
    public bool IsOwned => _origin != Origin.Adopted;

    /// <summary>The address on the device (CUdeviceptr).</summary>
    /// <exception cref="ObjectDisposedException">It was given back.</exception>
    public nint Address
    {
        get
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
            return _address;
        }
    }

    /// <summary>All of it.</summary>
    public DeviceSpan Span => new(this, 0, ByteLength);

    /// <summary>A part of it.</summary>
    /// <param name="byteOffset">The first byte.</param>
    /// <param name="byteLength">The number of bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is not inside.</exception>
    public DeviceSpan Slice(long byteOffset, long byteLength) => Span.Slice(byteOffset, byteLength);

    /// <summary>All of it.</summary>
    public static implicit operator DeviceSpan(DeviceMemory memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        return memory.Span;
    }

    /// <summary>All of it.</summary>
    public DeviceSpan ToDeviceSpan() => Span;

    /// <summary>
    /// Frees what was allocated here; stream-ordered memory on the stream that it was allocated on. A second call does nothing.
    /// Memory allocated by <see cref="CudaContext.Allocate(long)"/> must no longer be in use by the device.
    /// </summary>
    public void Dispose()
    {
        if (_stream is { IsDisposed: false })
        {
            Free(_stream);
        }
        else if (Interlocked.Exchange(ref _disposed, 1) == 0 && IsOwned)
        {
            // Without its stream, stream-ordered memory can be freed all the same: the driver then waits for what uses it.
            Context.Release(_address, CudaApi.cuMemFree_v2);
            Context.CountMemory(-ByteLength);
        }
    }

    /// <summary>
    /// Frees stream-ordered memory once the stream has come so far. A second call, or <see cref="Dispose"/> after it, does nothing.
    /// </summary>
    /// <param name="stream">A stream that works with the memory now, or waits for those that do.</param>
    /// <exception cref="InvalidOperationException">The memory is not stream-ordered.</exception>
    public void Free(CudaStream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (_origin != Origin.StreamOrdered)
        {
            throw new InvalidOperationException("Only memory that a stream or a pool allocated is freed in the order of a stream.");
        }

        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            nint handle = stream.Handle;
            Context.Release(_address, address => CudaApi.cuMemFreeAsync(address, handle));
            Context.CountMemory(-ByteLength);
        }
    }

    internal static DeviceMemory Allocate(CudaContext context, long byteLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        using CudaContextScope scope = context.Activate();
        CudaError error = CudaApi.cuMemAlloc_v2(out nint address, Size(byteLength));
        ThrowIfFailed(error, context, byteLength, $"allocating memory on {context.Device}");
        return new DeviceMemory(context, address, byteLength, Origin.Allocated);
    }

    internal static DeviceMemory Allocate(CudaStream stream, MemoryPool? pool, long byteLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        CudaContext context = stream.Context;
        using CudaContextScope scope = context.Activate();
        CudaError error = pool is null
            ? CudaApi.cuMemAllocAsync(out nint address, Size(byteLength), stream.Handle)
            : CudaApi.cuMemAllocFromPoolAsync(out address, Size(byteLength), pool.Handle, stream.Handle);
        ThrowIfFailed(error, context, byteLength, $"allocating memory in the order of a stream on {context.Device}");
        return new DeviceMemory(context, address, byteLength, Origin.StreamOrdered, stream);
    }

    internal static void ThrowIfFailed(CudaError error, CudaContext context, long byteLength, string action)
    {
        if (error == CudaError.OutOfMemory)
        {
            throw new DeviceOutOfMemoryException(action, byteLength, context.Memory);
        }

        CudaException.ThrowIfFailed(error, $"{action} ({byteLength:N0} bytes)");
    }

    // The driver refuses to allocate nothing; an empty tensor is nothing unusual.
    private static nuint Size(long byteLength) => (nuint)Math.Max(byteLength, 1);
}
