namespace MambaCuda.Kernels;

/// <summary>What is said of a cache of keys and values that does not go with its length, by every backend.</summary>
internal static class AttentionFault
{
    public static string Length(long sequence, long length) =>
        $"Sequence {sequence} has {length} tokens in its cache, which has no room for one more: give it a larger one, or drop the sequence.";
}
