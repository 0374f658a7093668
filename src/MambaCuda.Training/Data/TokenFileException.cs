namespace MambaCuda.Training;

/// <summary>
/// A token file cannot be used or written. The message names the file, what is wrong with it and, where there is one, the way out.
/// </summary>
public sealed class TokenFileException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="path">The file.</param>
    /// <param name="problem">What is wrong, without a full stop.</param>
    /// <param name="remedy">What the reader can do about it, without a full stop; or null.</param>
    /// <param name="inner">What caused it; or null.</param>
    public TokenFileException(string path, string problem, string? remedy = null, Exception? inner = null)
        : base(remedy is null ? $"{path}: {problem}." : $"{path}: {problem}. {remedy}.", inner) => Path = path;

    /// <summary>Creates an exception that names no file.</summary>
    public TokenFileException(string message) : base(message)
    {
    }

    /// <summary>Creates an exception that names no file, with its cause.</summary>
    public TokenFileException(string message, Exception inner) : base(message, inner)
    {
    }

    /// <summary>Creates an exception without a message.</summary>
    public TokenFileException()
    {
    }

    /// <summary>The file; null where none was named.</summary>
    public string? Path { get; }
}
