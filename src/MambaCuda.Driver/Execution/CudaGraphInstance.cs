namespace MambaCuda.Driver;

/// <summary>A graph ready to run (CUgraphExec): all its work is started by one call. One run at a time.</summary>
public sealed unsafe class CudaGraphInstance : CudaResource
{
    internal CudaGraphInstance(CudaContext context, nint handle) : base(context, handle, CudaApi.cuGraphExecDestroy)
    {
    }

    /// <summary>Puts one run of the graph into a stream.</summary>
    public void Launch(CudaStream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuGraphLaunch(Handle, stream.Handle), "launching a graph");
    }

    /// <summary>Brings what the graph needs to the device now, so that the first run is as fast as the others.</summary>
    public void Upload(CudaStream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuGraphUpload(Handle, stream.Handle), "uploading a graph");
    }

    /// <summary>
    /// Takes over the parameters of a graph of the same form (other pointers, sizes, grids), which costs far less than a new instance.
    /// Where that is not possible nothing changes: make a new instance then.
    /// </summary>
    /// <returns>Whether it did, or why not.</returns>
    /// <exception cref="CudaException">Something else than the form of the graph was wrong.</exception>
    public GraphUpdateOutcome Update(CudaGraph graph)
    {
        ArgumentNullException.ThrowIfNull(graph);
        GraphUpdateResult result = default;
        using CudaContextScope scope = Context.Activate();
        CudaError error = CudaApi.cuGraphExecUpdate_v2(Handle, graph.Handle, &result);
        if (error != CudaError.GraphExecUpdateFailure)
        {
            CudaException.ThrowIfFailed(error, "updating an instance of a graph");
        }

        return result.Outcome;
    }
}
