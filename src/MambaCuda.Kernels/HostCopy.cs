namespace MambaCuda.Kernels;

/// <summary>
/// A piece of host memory that results are copied to while the device goes on: <see cref="Begin"/> puts the copy behind the operations
/// called so far and returns, <see cref="Wait"/> waits for that copy and for nothing that was called after it.
/// </summary>
public abstract class HostCopy : IDisposable
{
    /// <summary>Copies all bytes of a view without gaps, as many as this was made for.</summary>
    /// <exception cref="ShapeException">The view has gaps, or another length.</exception>
    public abstract void Begin(MatrixView source);

    /// <summary>Waits for the copy, and gives its bytes, which stay until the next <see cref="Begin"/>.</summary>
    /// <exception cref="ArithmeticException">An operation before the copy found a logit that is no number to choose a token by.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An operation before the copy found an index that is out of its range.</exception>
    public abstract ReadOnlySpan<byte> Wait();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the memory back, after a copy that is under way.</summary>
    protected abstract void Dispose(bool disposing);

    /// <summary>What <see cref="Begin"/> promises to refuse.</summary>
    protected static void CheckSource(MatrixView source, long byteLength)
    {
        Check.Given(nameof(HostCopy), "source", source);
        Check.Contiguous(nameof(HostCopy), "source", source);
        if (source.Rows * source.Columns * source.Type.Size() != byteLength)
        {
            ShapeException.Throw(nameof(HostCopy), $"source is {source}, but the copy was made for {byteLength} bytes");
        }
    }
}
