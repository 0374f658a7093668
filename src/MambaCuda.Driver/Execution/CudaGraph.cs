namespace MambaCuda.Driver;

/// <summary>
/// Work that was captured from a stream (<see cref="CudaStream.Capture"/>; CUgraph): a plan, of which <see cref="Instantiate"/> makes what can
/// be run.
/// </summary>
public sealed unsafe class CudaGraph : CudaResource
{
    internal CudaGraph(CudaContext context, nint handle) : base(context, handle, CudaApi.cuGraphDestroy)
    {
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
}
