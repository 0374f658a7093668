namespace MambaCuda;

/// <summary>
/// A tokenizer file cannot be used. The message names the file, what is wrong with it and, where there is one, the way out.
/// </summary>
public sealed class TokenizerException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="problem">What is wrong, without a full stop.</param>
    /// <param name="remedy">What the reader can do about it, without a full stop; or null.</param>
    /// <param name="inner">What caused it; or null.</param>
    public TokenizerException(string path, string problem, string? remedy = null, Exception? inner = null)
        : base(remedy is null ? $"{path}: {problem}." : $"{path}: {problem}. {remedy}.", inner)
    {
        Path = path;
        Problem = problem;
        Remedy = remedy;
    }

    /// <summary>Creates an exception that names no file.</summary>
    public TokenizerException(string message) : base(message) => Problem = message;

    /// <summary>Creates an exception that names no file, with its cause.</summary>
    public TokenizerException(string message, Exception inner) : base(message, inner) => Problem = message;

    /// <summary>Creates an exception without a message.</summary>
    public TokenizerException() => Problem = "";

    /// <summary>The file or folder; null where none was named.</summary>
    public string? Path { get; }

    /// <summary>What is wrong with it.</summary>
    public string Problem { get; }

    /// <summary>What can be done about it; null where nothing is known.</summary>
    public string? Remedy { get; }
}
