using System.IO.Hashing;

namespace MambaCuda.Training;

/// <summary>
/// A file of token ids, memory-mapped: documents one after the other, with the places where they end. Opening it checks everything but
/// the ids against the file's length; <see cref="Verify"/> checks the rest. One serves any number of threads.
/// </summary>
public sealed unsafe class TokenFile : IDisposable
{
    private const int VerifiedAtOnce = 1 << 22;

    private readonly MappedFile _file;
    private readonly TokenFileHeader _header;

    private TokenFile(MappedFile file, TokenFileHeader header)
    {
        _file = file;
        _header = header;
    }

    /// <summary>The file.</summary>
    public string Path => _file.Path;

    /// <summary>One more than the highest id that may stand in it.</summary>
    public int VocabularySize => _header.VocabularySize;

    /// <summary>The bytes of a token in the file: 2 or 4.</summary>
    public int TokenWidth => _header.TokenWidth;

    /// <summary>The id that ends documents; null where the tokenizer has none.</summary>
    public int? EndOfDocument => _header.EndOfDocument;

    /// <summary>What the ids mean: <see cref="TokenizerFingerprint"/> of the tokenizer that made them.</summary>
    public ReadOnlySpan<byte> Fingerprint => _header.Fingerprint;

    /// <summary>The number of tokens.</summary>
    public long TokenCount => _header.TokenCount;

    /// <summary>The number of documents.</summary>
    public long DocumentCount => _header.DocumentCount;

    /// <summary>All of it.</summary>
    public TokenSlice All => new(this, 0, TokenCount);

    private long* Ends => (long*)(_file.Pointer + _header.EndsAt);

    /// <summary>Whether a file begins as token files do.</summary>
    /// <exception cref="TokenFileException">It cannot be read.</exception>
    public static bool IsTokenFile(string path)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1);
            Span<byte> start = stackalloc byte[TokenFileHeader.Magic.Length];
            return file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) == start.Length
                && start.SequenceEqual(TokenFileHeader.Magic);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TokenFileException(path, $"it cannot be read: {e.Message.TrimEnd('.')}", inner: e);
        }
    }

    /// <summary>Maps a file.</summary>
    /// <exception cref="TokenFileException">There is none, or it is no token file, cut short or damaged.</exception>
    public static TokenFile Open(string path)
    {
        MappedFile file;
        try
        {
            file = MappedFile.Open(path);
        }
        catch (CheckpointException e)
        {
            throw new TokenFileException(path, e.Problem, "Make one with mamba-cuda tokenize", e);
        }

        try
        {
            ReadOnlySpan<byte> start = new(file.Pointer, (int)Math.Min(TokenFileHeader.Length, file.ByteLength));
            TokenFile opened = new(file, TokenFileHeader.Read(start, file.ByteLength, path));
            opened.CheckDocuments();
            return opened;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Where a document lies.</summary>
    /// <param name="index">The document.</param>
    public TokenRange Document(long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, DocumentCount);
        long start = index == 0 ? 0 : Ends[index - 1];
        return new TokenRange(start, Ends[index] - start);
    }

    /// <summary>The document that a token belongs to.</summary>
    /// <param name="token">The index of the token.</param>
    public long DocumentOf(long token)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(token);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(token, TokenCount);
        long first = 0, last = DocumentCount - 1;
        while (first < last)
        {
            long middle = first + ((last - first) / 2);
            (first, last) = Ends[middle] > token ? (first, middle) : (middle + 1, last);
        }

        return first;
    }

    /// <summary>Consecutive tokens, across documents.</summary>
    /// <param name="start">The first of them.</param>
    /// <param name="count">How many.</param>
    public TokenSlice Slice(long start, long count) => new(this, start, count);

    /// <summary>Copies tokens from the map.</summary>
    /// <param name="start">The first of them.</param>
    /// <param name="destination">Takes the ids, as many as it is long.</param>
    /// <exception cref="TokenFileException">One of them is not in the vocabulary: the file is damaged.</exception>
    public void Read(long start, Span<int> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, TokenCount - destination.Length, nameof(start));
        uint highest = 0;
        if (TokenWidth == sizeof(ushort))
        {
            ushort* source = (ushort*)(_file.Pointer + TokenFileHeader.Length) + start;
            for (int i = 0; i < destination.Length; i++)
            {
                highest = Math.Max(highest, source[i]);
                destination[i] = source[i];
            }
        }
        else
        {
            uint* source = (uint*)(_file.Pointer + TokenFileHeader.Length) + start;
            for (int i = 0; i < destination.Length; i++)
            {
                highest = Math.Max(highest, source[i]);
                destination[i] = (int)source[i];
            }
        }

        if (highest >= (uint)VocabularySize && !destination.IsEmpty)
        {
            throw new TokenFileException(
                Path,
                $"among tokens {start} to {start + destination.Length - 1} is the id {highest}, which is not in the vocabulary of "
                + $"{VocabularySize}",
                "The file is damaged: make it again");
        }

        GC.KeepAlive(this);
    }

    /// <summary>Reads the whole file: its checksum must match, and every id must be in the vocabulary.</summary>
    /// <param name="cancellation">Ends the reading.</param>
    /// <exception cref="TokenFileException">The file is damaged.</exception>
    public void Verify(CancellationToken cancellation = default)
    {
        int[] ids = new int[(int)Math.Min(TokenCount, VerifiedAtOnce / TokenWidth)];
        for (long start = 0; start < TokenCount; start += ids.Length)
        {
            cancellation.ThrowIfCancellationRequested();
            Read(start, ids.AsSpan(0, (int)Math.Min(ids.Length, TokenCount - start)));
        }

        XxHash128 checksum = new();
        for (long at = TokenFileHeader.Length; at < _file.ByteLength; at += VerifiedAtOnce)
        {
            cancellation.ThrowIfCancellationRequested();
            checksum.Append(new ReadOnlySpan<byte>(_file.Pointer + at, (int)Math.Min(VerifiedAtOnce, _file.ByteLength - at)));
        }

        if (!TokenFileHeader.IsChecksumOf(new ReadOnlySpan<byte>(_file.Pointer, TokenFileHeader.Length), checksum))
        {
            throw new TokenFileException(Path, "it is damaged: the checksum does not match", "Make it again");
        }
    }

    /// <summary>Refuses the file where its ids are not those of a tokenizer.</summary>
    /// <exception cref="TokenFileException">Another tokenizer made it.</exception>
    public void CheckMadeBy(Tokenizer tokenizer)
    {
        if (!Fingerprint.SequenceEqual(TokenizerFingerprint.Of(tokenizer)))
        {
            throw new TokenFileException(
                Path, "its tokens were made by another tokenizer than the model's", "Make it again with mamba-cuda tokenize --tokenizer");
        }
    }

    /// <summary>Unmaps the file. Nothing may be reading it.</summary>
    public void Dispose() => _file.Dispose();

    private void CheckDocuments()
    {
        long last = 0;
        for (long i = 0; i < DocumentCount; i++)
        {
            long end = Ends[i];
            if (end < last || end > TokenCount)
            {
                throw new TokenFileException(
                    Path, $"document {i} ends at token {end}, but the one before ends at {last} and the file at {TokenCount}",
                    "The file is damaged: make it again");
            }

            last = end;
        }

        if (last != TokenCount)
        {
            throw new TokenFileException(
                Path, $"the last document ends at token {last}, but the file at {TokenCount}", "The file is damaged: make it again");
        }
    }
}
