namespace MambaCuda.Driver;

/// <summary>
/// CUDA cannot be used on this machine as it is: no driver, one that is too old, or no device. The message says what to do.
/// </summary>
public class CudaUnavailableException : Exception
{
    /// <summary>Creates the exception.</summary>
    public CudaUnavailableException(string message) : base(message)
    {
    }

    /// <summary>Creates the exception with its cause.</summary>
    public CudaUnavailableException(string message, Exception inner) : base(message, inner)
    {
    }
}
