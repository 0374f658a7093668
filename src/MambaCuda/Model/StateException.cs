namespace MambaCuda;

/// <summary>
/// A stored state cannot be used: it is damaged, of another version, or another model's. The message says which and what to do.
/// </summary>
public sealed class StateException : IOException
{
    /// <summary>Creates the exception.</summary>
    public StateException(string message) : base(message)
    {
    }

    /// <summary>Creates the exception with its cause.</summary>
    public StateException(string message, Exception inner) : base(message, inner)
    {
    }

    /// <summary>Creates an exception without a message.</summary>
    public StateException()
    {
    }
}
