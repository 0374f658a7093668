namespace MambaCuda.Driver;

/// <summary>cuBLASLt, where it is installed: it is not needed, and nothing of it is loaded before it is first asked for.</summary>
public sealed class CublasLt : IDisposable
{
    private static readonly Lazy<LibrarySearch> Found = new(Find);

    private readonly nint _handle;
    private int _disposed;

    private CublasLt(CudaContext context, nint handle)
    {
        Context = context;
        _handle = handle;
    }

    /// <summary>How the library was looked for.</summary>
    public static LibrarySearch Search => Found.Value;

    /// <summary>Prepares the library for a context.</summary>
    /// <exception cref="MissingLibraryException">It is not there; the message lists what was tried, and how to get it.</exception>
    /// <exception cref="CublasException">It cannot work with this device or driver.</exception>
    public static CublasLt Open(CudaContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        Search.ThrowIfMissing();
        using CudaContextScope scope = context.Activate();
        CublasException.ThrowIfFailed(CublasLtApi.cublasLtCreate(out nint handle), $"preparing cuBLASLt for {context.Device}");
        return new CublasLt(context, handle);
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>The library's handle (cublasLtHandle_t).</summary>
    /// <exception cref="ObjectDisposedException">It was disposed of.</exception>
    public nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
            return _handle;
        }
    }

    /// <summary>The library's own number for its version, as in 130100.</summary>
    /// <exception cref="MissingLibraryException">It is not there.</exception>
    public static long Version
    {
        get
        {
            Search.ThrowIfMissing();
            return (long)CublasLtApi.cublasLtGetVersion();
        }
    }

    /// <summary>
    /// Chooses how to compute a product, by the library's heuristics. Only ways whose result repeats bit for bit are taken, which add
    /// partial sums, where they do, in a set order and in float32.
    /// </summary>
    /// <param name="product">The product.</param>
    /// <param name="workspaceBytes">How much memory it may use beside its operands.</param>
    /// <returns>The way; null where the library has none for this product.</returns>
    public CublasLtProduct? Choose(in RowProduct product, long workspaceBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(workspaceBytes);
        using CudaContextScope scope = Context.Activate();
        return CublasLtProduct.Create(this, product, workspaceBytes);
    }

    /// <summary>Gives the library's memory back; no product may be running. A second call does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            Context.Release(_handle, handle => (CudaError)CublasLtApi.cublasLtDestroy(handle));
        }
    }

    private static LibrarySearch Find()
    {
        LibrarySearch search = new LibraryFinder().Search(CudaLibrary.CublasLt);
        if (search.IsFound)
        {
            NativeImports.Bind(NativeImports.CublasLt, search.Handle);
        }

        return search;
    }
}
