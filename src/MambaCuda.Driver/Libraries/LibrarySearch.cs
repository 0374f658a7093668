namespace MambaCuda.Driver;

/// <summary>How the search for a library went.</summary>
public sealed class LibrarySearch
{
    internal LibrarySearch(CudaLibrary library, IReadOnlyList<LibraryAttempt> attempts, nint handle, string? path)
    {
        Library = library;
        Attempts = attempts;
        Handle = handle;
        Path = path;
    }

    /// <summary>What was looked for.</summary>
    public CudaLibrary Library { get; }

    /// <summary>What was tried, in order; the last one succeeded if any did.</summary>
    public IReadOnlyList<LibraryAttempt> Attempts { get; }

    /// <summary>Whether it was found and could be loaded.</summary>
    public bool IsFound => Handle != 0;

    /// <summary>The file that was loaded; null where none was, or where the system does not tell.</summary>
    public string? Path { get; }

    /// <summary>The loaded library, for <see cref="System.Runtime.InteropServices.NativeLibrary"/>; zero where it was not found.</summary>
    public nint Handle { get; }

    /// <summary>Throws where the library was not found.</summary>
    /// <exception cref="MissingLibraryException">It was not found; the message lists what was tried, and how to get it.</exception>
    public void ThrowIfMissing()
    {
        if (!IsFound)
        {
            throw new MissingLibraryException(this);
        }
    }

    /// <summary>The library, where it is, or that it is missing.</summary>
    public override string ToString() => $"{Library.Title}: {(IsFound ? Path ?? "found by the system" : "not found")}";
}
