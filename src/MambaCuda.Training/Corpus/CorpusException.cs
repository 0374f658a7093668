namespace MambaCuda.Training;

/// <summary>
/// A text to train on cannot be used. The message names the file, the place in it, what is wrong and, where there is one, the way out.
/// </summary>
public sealed class CorpusException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="problem">What is wrong and where, without a full stop.</param>
    /// <param name="remedy">What the reader can do about it, without a full stop; or null.</param>
    /// <param name="inner">What caused it; or null.</param>
    public CorpusException(string path, string problem, string? remedy = null, Exception? inner = null)
        : base(remedy is null ? $"{path}: {problem}." : $"{path}: {problem}. {remedy}.", inner) => Path = path;

    /// <summary>Creates an exception that names no file.</summary>
    public CorpusException(string message) : base(message)
    {
    }

    /// <summary>Creates an exception that names no file, with its cause.</summary>
    public CorpusException(string message, Exception inner) : base(message, inner)
    {
    }

    /// <summary>Creates an exception without a message.</summary>
    public CorpusException()
    {
    }

    /// <summary>The file or folder; null where none was named.</summary>
    public string? Path { get; }
}
