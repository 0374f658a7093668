namespace MambaCuda;

/// <summary>How much a <see cref="PromptCache"/> keeps, and where.</summary>
public sealed record PromptCacheOptions
{
    /// <summary>Bytes of states and logits in the memory that the model computes in; at least one prompt's.</summary>
    public long MaxMemoryBytes { get; init; } = 1L << 30;

    /// <summary>
    /// Where prompts go that memory has no room for, and all when the cache is disposed of; created where it is absent. Several models, and
    /// several programs, may have the same. Left out, they are forgotten.
    /// </summary>
    public string? Folder { get; init; }

    /// <summary>Bytes of this model's files in the folder.</summary>
    public long MaxDiskBytes { get; init; } = 4L << 30;
}
