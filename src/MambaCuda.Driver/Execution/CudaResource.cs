namespace MambaCuda.Driver;

/// <summary>Something that the driver made in a context and knows by a handle, until it is disposed of.</summary>
public abstract class CudaResource : IDisposable
{
    private readonly nint _handle;
    private readonly Func<nint, CudaError>? _destroy;
    private int _disposed;

    /// <summary>Takes over what was made; or uses what something else made and will destroy, where there is no way to destroy it.</summary>
    private protected CudaResource(CudaContext context, nint handle, Func<nint, CudaError>? destroy)
    {
        Context = context;
        _handle = handle;
        _destroy = destroy;
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>Whether <see cref="Dispose"/> destroys it; false for what was adopted.</summary>
    public bool IsOwned => _destroy is not null;

    /// <summary>Whether it was disposed of here.</summary>
    public bool IsDisposed => Volatile.Read(ref _disposed) != 0;

    /// <summary>The driver's handle.</summary>
    /// <exception cref="ObjectDisposedException">It was disposed of.</exception>
    public nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsDisposed, this);
            return _handle;
        }
    }

    /// <summary>Destroys it, without waiting for work that is under way; does nothing for what was adopted. A second call does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0 && _destroy is not null)
        {
            Context.Release(_handle, _destroy);
        }

        GC.SuppressFinalize(this);
    }
}
