namespace MambaCuda.Cli;

/// <summary>Options that do not go together, or a value that has no meaning; the message says which.</summary>
public sealed class UsageException : Exception
{
    /// <summary>Creates the exception.</summary>
    public UsageException(string message) : base(message)
    {
    }

    /// <summary>Creates the exception with its cause.</summary>
    public UsageException(string message, Exception inner) : base(message, inner)
    {
    }

    /// <summary>Creates an exception without a message.</summary>
    public UsageException()
    {
    }
}
