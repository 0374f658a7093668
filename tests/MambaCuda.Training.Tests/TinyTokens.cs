using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>Token files of a few documents.</summary>
internal static class TinyTokens
{
    public static byte[] Fingerprint { get; } = [.. Enumerable.Range(1, TokenizerFingerprint.Length).Select(i => (byte)i)];

    /// <summary>Writes documents of the given lengths; the tokens are 0, 1, 2, ... modulo the vocabulary.</summary>
    public static string Write(TemporaryFolder folder, int vocabularySize, params ReadOnlySpan<int> lengths)
    {
        string path = folder.File("tiny.tokens");
        using TokenFileWriter writer = new(path, vocabularySize, Fingerprint, endOfDocument: 0, replace: true);
        int next = 0;
        foreach (int length in lengths)
        {
            writer.Append([.. Enumerable.Range(next, length).Select(id => id % vocabularySize)]);
            writer.EndDocument();
            next += length;
        }

        writer.Complete();
        return path;
    }
}
