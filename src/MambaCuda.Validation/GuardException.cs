namespace MambaCuda.Validation;

/// <summary>
/// An operation wrote where it must not: beside an output, or into an operand that it should only read. The message says where.
/// </summary>
public sealed class GuardException : Exception
{
    /// <summary>Creates the exception.</summary>
    public GuardException(string message) : base(message)
    {
    }

    /// <summary>Creates the exception with its cause.</summary>
    public GuardException(string message, Exception inner) : base(message, inner)
    {
    }

    /// <summary>Creates an exception without a message.</summary>
    public GuardException()
    {
    }
}
