namespace MambaCuda;

/// <summary>How far the reading of weights has come.</summary>
/// <param name="BytesRead">The bytes read so far.</param>
/// <param name="TotalBytes">The bytes to read.</param>
public readonly record struct LoadProgress(long BytesRead, long TotalBytes)
{
    private const int PageBytes = 4096;
    private const int ReportBytes = 1 << 26;

    /// <summary>
    /// Touches every page of mapped tensors, so that the time that the disk takes is spent, and shown, while loading, not at the first
    /// token.
    /// </summary>
    internal static void ReadAll(
        IReadOnlyDictionary<string, StoredTensor> tensors, IProgress<LoadProgress>? progress, CancellationToken cancellation)
    {
        long total = tensors.Values.Sum(tensor => tensor.ByteLength), done = 0;
        progress?.Report(new LoadProgress(0, total));
        foreach (StoredTensor tensor in tensors.Values)
        {
            for (long at = 0; at < tensor.ByteLength; at += ReportBytes)
            {
                cancellation.ThrowIfCancellationRequested();
                ReadOnlySpan<byte> piece = tensor.Memory.Span(tensor.ByteOffset + at, (int)Math.Min(ReportBytes, tensor.ByteLength - at));
                TouchPages(piece);
                done += piece.Length;
                progress?.Report(new LoadProgress(done, total));
            }
        }
    }

    [System.Runtime.CompilerServices.MethodImpl(
        System.Runtime.CompilerServices.MethodImplOptions.NoInlining | System.Runtime.CompilerServices.MethodImplOptions.NoOptimization)]
    private static int TouchPages(ReadOnlySpan<byte> bytes)
    {
        int sum = 0;
        for (int i = 0; i < bytes.Length; i += PageBytes)
        {
            sum += bytes[i];
        }

        return sum;
    }
}
