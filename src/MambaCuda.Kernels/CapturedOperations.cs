namespace MambaCuda.Kernels;

/// <summary>Operations that were captured (<see cref="Backend.Capture"/>) with the buffers that they read and write.</summary>
public abstract class CapturedOperations : IDisposable
{
    /// <summary>
    /// Whether they can still be run: the backend has allocated nothing since, so that what operations share between them is where it was.
    /// Buffers of the caller's own that were given back since are the caller's to know of.
    /// </summary>
    public abstract bool IsCurrent { get; }

    /// <summary>Runs all of them, behind the operations called so far.</summary>
    /// <exception cref="InvalidOperationException">They are no longer current: capture them again.</exception>
    public abstract void Run();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Forgets them; a run that is under way is finished.</summary>
    protected abstract void Dispose(bool disposing);
}
