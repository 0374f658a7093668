namespace MambaCuda.Driver;

/// <summary>
/// A mark in a stream (<see cref="CudaStream.Record"/>; CUevent) that others wait for, and between two of which time is measured.
/// Made by <see cref="CudaContext.CreateEvent"/>, or somebody else's (<see cref="Adopt"/>), which is never destroyed here.
/// </summary>
public sealed class CudaEvent : CudaResource
{
    private const uint BlockingSync = 1;
    private const uint DisableTiming = 2;

    private CudaEvent(CudaContext context, nint handle, bool isOwned) : base(context, handle, isOwned ? CudaApi.cuEventDestroy_v2 : null)
    {
    }

    /// <summary>Uses an event that something else made and will destroy.</summary>
    /// <param name="context">The context that it belongs to.</param>
    /// <param name="handle">The CUevent.</param>
    public static CudaEvent Adopt(CudaContext context, nint handle)
    {
        ArgumentNullException.ThrowIfNull(context);
        return handle == 0
            ? throw new ArgumentException("Zero is no event.", nameof(handle))
            : new CudaEvent(context, handle, isOwned: false);
    }

    /// <summary>Whether it happened; true too where it was never recorded.</summary>
    public bool IsCompleted
    {
        get
        {
            using CudaContextScope scope = Context.Activate();
            CudaError answer = CudaApi.cuEventQuery(Handle);
            if (answer == CudaError.NotReady)
            {
                return false;
            }

            CudaException.ThrowIfFailed(answer, "asking whether an event happened");
            return true;
        }
    }

    /// <summary>Waits until it happened.</summary>
    public void Synchronize()
    {
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuEventSynchronize(Handle), "waiting for an event");
    }

    /// <summary>
    /// The time from an earlier event to this one, as the device measured it (to about half a microsecond). Both must have happened.
    /// </summary>
    /// <exception cref="CudaException">One has not happened, was never recorded, or does not measure time.</exception>
    public TimeSpan ElapsedSince(CudaEvent start)
    {
        ArgumentNullException.ThrowIfNull(start);
        using CudaContextScope scope = Context.Activate();
        CudaException.ThrowIfFailed(
            CudaApi.cuEventElapsedTime(out float milliseconds, start.Handle, Handle), "measuring the time between two events");
        return TimeSpan.FromMilliseconds(milliseconds);
    }

    internal static CudaEvent Create(CudaContext context, bool timing, bool blocking)
    {
        uint flags = (timing ? 0 : DisableTiming) | (blocking ? BlockingSync : 0);
        using CudaContextScope scope = context.Activate();
        CudaException.ThrowIfFailed(CudaApi.cuEventCreate(out nint handle, flags), $"creating an event on {context.Device}");
        return new CudaEvent(context, handle, isOwned: true);
    }
}
