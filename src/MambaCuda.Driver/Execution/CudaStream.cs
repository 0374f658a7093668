namespace MambaCuda.Driver;

/// <summary>
/// A queue of work on a device (CUstream): what is put in runs in order. Made by <see cref="CudaContext.CreateStream"/>, or somebody else's
/// (<see cref="Adopt"/>), which is never destroyed here. Methods only put work in, and return before it is done, unless they say that they
/// wait.
/// </summary>
public sealed partial class CudaStream : CudaResource
{
    // Does not wait for the default stream, nor the default stream for it.
    private const uint NonBlocking = 1;

    private CudaStream(CudaContext context, nint handle, bool isOwned)
        : base(context, handle, isOwned ? CudaApi.cuStreamDestroy_v2 : null)
    {
    }

    /// <summary>Uses a stream that something else made and will destroy.</summary>
    /// <param name="context">The context that it belongs to.</param>
    /// <param name="handle">The CUstream; zero is the context's default stream.</param>
    public static CudaStream Adopt(CudaContext context, nint handle)
    {
        ArgumentNullException.ThrowIfNull(context);
        return new CudaStream(context, handle, isOwned: false);
    }

    /// <summary>Its priority; a lower number runs first.</summary>
    public int Priority
    {
        get
        {
            using CudaContextScope scope = Context.Activate();
            CudaException.ThrowIfFailed(CudaApi.cuStreamGetPriority(Handle, out int priority), "reading a stream's priority");
            return priority;
        }
    }

    /// <summary>Whether all that was put in is done. Errors of kernels come out here.</summary>
    public bool IsCompleted
    {
        get
        {
            using CudaContextScope scope = Context.Activate();
            CudaError answer = CudaApi.cuStreamQuery(Handle);
            if (answer == CudaError.NotReady)
            {
                return false;
            }

            CudaException.ThrowIfFailed(answer, "asking whether a stream is done");
            return true;
        }
    }

    /// <summary>Waits until all that was put in is done. Errors of kernels come out here.</summary>
    public void Synchronize()
    {
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuStreamSynchronize(Handle), "waiting for a stream");
    }

    /// <summary>Lets what is put in from now on wait for an event that was recorded, here or in another stream.</summary>
    public void WaitFor(CudaEvent awaited)
    {
        ArgumentNullException.ThrowIfNull(awaited);
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuStreamWaitEvent(Handle, awaited.Handle, 0), "letting a stream wait for an event");
    }

    /// <summary>Lets an event happen when all that was put in so far is done.</summary>
    public void Record(CudaEvent recorded)
    {
        ArgumentNullException.ThrowIfNull(recorded);
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuEventRecord(recorded.Handle, Handle), "recording an event");
    }

    /// <summary>Allocates from the device's default pool in the order of this stream. It is not cleared.</summary>
    /// <param name="byteLength">The length in bytes; zero is allowed.</param>
    /// <exception cref="DeviceOutOfMemoryException">There is not that much.</exception>
    public DeviceMemory Allocate(long byteLength) => DeviceMemory.Allocate(this, null, byteLength);

    internal static CudaStream Create(CudaContext context, int priority)
    {
        using CudaContextScope scope = context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuStreamCreateWithPriority(out nint handle, NonBlocking, priority), $"creating a stream on {context.Device}");
        return new CudaStream(context, handle, isOwned: true);
    }
}
