using System.Diagnostics.CodeAnalysis;

namespace MambaCuda.Kernels;

/// <summary>An operation was given views whose shapes or types do not fit together; the message names them.</summary>
public sealed class ShapeException : ArgumentException
{
    /// <summary>Creates the exception.</summary>
    public ShapeException(string message) : base(message)
    {
    }

    /// <summary>Creates the exception with its cause.</summary>
    public ShapeException(string message, Exception inner) : base(message, inner)
    {
    }

    /// <summary>Creates an exception without a message.</summary>
    public ShapeException()
    {
    }

    [DoesNotReturn]
    internal static void Throw(string operation, string what) => throw new ShapeException($"{operation}: {what}.");
}
