namespace MambaCuda.Driver;

/// <summary>A native library is not there. The message lists what was tried, and says how to get it.</summary>
public sealed class MissingLibraryException : CudaUnavailableException
{
    /// <summary>Creates the exception for a search that found nothing.</summary>
    public MissingLibraryException(LibrarySearch search) : base(Describe(search))
    {
        Search = search;
    }

    /// <summary>The search.</summary>
    public LibrarySearch Search { get; }

    private static string Describe(LibrarySearch search) =>
        $"""
        {char.ToUpperInvariant(search.Library.Title[0])}{search.Library.Title[1..]} was not found. {search.Library.Remedy}
        Tried, in this order:
          {string.Join("\n  ", search.Attempts)}
        """;
}
