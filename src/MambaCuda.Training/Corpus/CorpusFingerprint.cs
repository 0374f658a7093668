using System.Globalization;
using System.IO.Hashing;
using System.Text;

namespace MambaCuda.Training;

/// <summary>Tells whether a token file would be the same if it were made again.</summary>
public static class CorpusFingerprint
{
    private const int ReadAtOnce = 1 << 20;

    /// <summary>
    /// 32 hexadecimal digits over all that decides the tokens: the bytes of the texts in their order, the tokenizer, the options. Names
    /// and times of files are not among it.
    /// </summary>
    /// <param name="inputs">Files and folders, as for <see cref="CorpusTokenizer"/>; not standard input, which is read only once.</param>
    /// <param name="tokenizer">Makes the tokens.</param>
    /// <param name="options">How texts are read.</param>
    /// <param name="cancellation">Ends the reading.</param>
    /// <exception cref="CorpusException">A text is not there or cannot be read.</exception>
    public static string Of(
        IReadOnlyList<string> inputs, Tokenizer tokenizer, CorpusOptions options, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(options);
        XxHash128 hash = new();
        hash.Append(TokenizerFingerprint.Of(tokenizer));
        string decided = string.Create(
            CultureInfo.InvariantCulture,
            $"{tokenizer.EndOfText} {options.EndDocuments} {options.PlainText} {options.HeldOutEvery} {options.Field}");
        hash.Append(Encoding.UTF8.GetBytes(decided));
        byte[] buffer = new byte[ReadAtOnce];
        foreach (string file in CorpusFiles.Of(inputs, options))
        {
            Append(hash, file, CorpusFiles.HoldsJsonLines(file, options.Format), buffer, cancellation);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static void Append(XxHash128 hash, string file, bool isJson, byte[] buffer, CancellationToken cancellation)
    {
        try
        {
            using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1, FileOptions.SequentialScan);
            // With its length before it, no file's end can pass for the beginning of the next.
            hash.Append(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"\n{isJson} {stream.Length}\n")));
            for (int read; (read = stream.Read(buffer)) > 0;)
            {
                cancellation.ThrowIfCancellationRequested();
                hash.Append(buffer.AsSpan(0, read));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CorpusException(file, $"it cannot be read: {e.Message.TrimEnd('.')}", inner: e);
        }
    }
}
