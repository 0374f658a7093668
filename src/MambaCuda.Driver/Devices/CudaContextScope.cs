namespace MambaCuda.Driver;

/// <summary>While it lives, a context is current on the thread; then the thread is as it was.</summary>
public readonly ref struct CudaContextScope : IDisposable
{
    private readonly bool _pushed;

    private CudaContextScope(bool pushed)
    {
        _pushed = pushed;
    }

    internal static CudaContextScope Enter(nint context)
    {
        CudaException.ThrowIfFailed(CudaApi.cuCtxGetCurrent(out nint current), "reading the current context");
        if (current == context)
        {
            return default;
        }

        CudaException.ThrowIfFailed(CudaApi.cuCtxPushCurrent_v2(context), "making a context current");
        return new CudaContextScope(true);
    }

    internal static CudaContextScope TryEnter(nint context, out bool entered)
    {
        if (CudaApi.cuCtxGetCurrent(out nint current) == CudaError.Success && current == context)
        {
            entered = true;
            return default;
        }

        entered = CudaApi.cuCtxPushCurrent_v2(context) == CudaError.Success;
        return new CudaContextScope(entered);
    }

    /// <summary>Makes the context current that was so before.</summary>
    public void Dispose()
    {
        if (_pushed)
        {
            _ = CudaApi.cuCtxPopCurrent_v2(out _);
        }
    }
}
