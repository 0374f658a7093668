namespace MambaCuda.Driver;

/// <summary>One thing that was tried to find a library.</summary>
/// <param name="Place">The place, as in "CUDA_HOME=/opt/cuda".</param>
/// <param name="Path">The folder or file; null where the place names none, or the system was asked.</param>
/// <param name="Outcome">What came of it, as in "not set" or "loaded".</param>
public sealed record LibraryAttempt(string Place, string? Path, string Outcome)
{
    /// <inheritdoc/>
    public override string ToString() => Path is null ? $"{Place}: {Outcome}" : $"{Place}: {Path}: {Outcome}";
}
