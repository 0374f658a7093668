namespace MambaCuda.Driver;

/// <summary>One place where a library is looked for.</summary>
/// <param name="Title">What the place is, as in "CUDA_HOME".</param>
/// <param name="Folders">The folders of it that exist; empty where there are none.</param>
/// <param name="IsSystemSearch">Whether the system is asked to find the library by its name alone.</param>
/// <param name="Note">Why there is no folder, as in "not set"; or null.</param>
internal sealed record LibraryPlace(string Title, IReadOnlyList<string> Folders, bool IsSystemSearch = false, string? Note = null);
