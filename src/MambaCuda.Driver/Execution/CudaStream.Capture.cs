namespace MambaCuda.Driver;

public sealed partial class CudaStream
{
    /// <summary>Whether work that is put in is written into a graph instead of run.</summary>
    public bool IsCapturing
    {
        get
        {
            using CudaContextScope scope = Context.Activate();
            CudaException.ThrowIfFailed(CudaApi.cuStreamIsCapturing(Handle, out int status), "asking whether a stream is captured");
            return status != 0;
        }
    }

    /// <summary>
    /// From now on, work that is put in is written into a graph instead of run. Other streams join by waiting for an event of this one,
    /// and must be waited for by this one before the end. Waiting for a stream is not possible meanwhile.
    /// </summary>
    public void BeginCapture(CaptureMode mode = CaptureMode.ThreadLocal)
    {
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuStreamBeginCapture_v2(Handle, mode), "beginning to capture a stream");
    }

    /// <summary>Ends the capture and returns what was put in since it began.</summary>
    /// <exception cref="CudaException">Something not allowed happened meanwhile, or another stream joined and was not waited
    /// for.</exception>
    public CudaGraph EndCapture()
    {
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuStreamEndCapture(Handle, out nint graph), "ending the capture of a stream");
        return new CudaGraph(Context, graph);
    }

    /// <summary>Writes what the action puts into this stream into a graph, instead of running it.</summary>
    /// <param name="work">Puts the work in. Where it throws, the capture ends and nothing remains of it.</param>
    public CudaGraph Capture(Action work)
    {
        ArgumentNullException.ThrowIfNull(work);
        BeginCapture();
        try
        {
            work();
        }
        catch
        {
            AbandonCapture();
            throw;
        }

        return EndCapture();
    }

    private void AbandonCapture() => Context.Release(Handle, stream =>
    {
        CudaError ended = CudaApi.cuStreamEndCapture(stream, out nint graph);
        return graph == 0 ? ended : CudaApi.cuGraphDestroy(graph);
    });
}
