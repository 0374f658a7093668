namespace MambaCuda.Driver;

/// <summary>
/// Work that was captured from a stream (<see cref="CudaStream.Capture"/>): a plan, of which <see cref="Instantiate"/> makes what can
/// be run.
/// </summary>
public sealed unsafe class CudaGraph : IDisposable
{
    private readonly nint _handle;
    private int _disposed;

    internal CudaGraph(CudaContext context, nint handle)
    {
        Context = context;
        _handle = handle;
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>The driver's handle (CUgraph).</summary>
    /// <exception cref="ObjectDisposedException">It was disposed of.</exception>
    public nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
            return _handle;
        }
    }

    /// <summary>The number of nodes: kernels, copies, fills and the rest.</summary>
    public int NodeCount
    {
        get
        {
            nuint count = 0;
            CudaException.ThrowIfFailed(CudaApi.cuGraphGetNodes(Handle, null, ref count), "counting the nodes of a graph");
            return checked((int)count);
        }
    }

    /// <summary>Makes an instance that can be run again and again. It does not need the graph any more.</summary>
    public CudaGraphInstance Instantiate()
    {
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuGraphInstantiateWithFlags(out nint instance, Handle, 0), $"making an instance of a graph of {NodeCount} nodes");
        return new CudaGraphInstance(Context, instance);
    }

    /// <summary>Destroys the plan. A second call does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            Context.Release(_handle, CudaApi.cuGraphDestroy);
        }
    }
}
