using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace MambaCuda.Training;

/// <summary>
/// Writes a token file document by document, in bounded memory whatever its size. The file has a temporary name beside its own until
/// <see cref="Complete"/>; without that nothing is left of it, and a file that was there before is as it was.
/// </summary>
public sealed class TokenFileWriter : IDisposable
{
    private const int BufferBytes = 1 << 18;

    private readonly string _temporaryPath;
    private readonly bool _replace;
    private readonly int _vocabularySize;
    private readonly int? _endOfDocument;
    private readonly byte[] _fingerprint;
    private readonly int _width;
    private readonly FileStream _tokens;
    private readonly FileStream _ends;
    private readonly XxHash128 _checksum = new();
    private readonly byte[] _buffer = new byte[BufferBytes];
    private int _buffered;
    private long _lastEnd;
    private bool _completed;

    /// <summary>Begins a file with the ids of a tokenizer.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tokenizer">Whose ids they are. Its end of text is named as the id that ends documents.</param>
    /// <param name="replace">Whether a file of that name is replaced.</param>
    /// <exception cref="TokenFileException">There is such a file and it is not to be replaced, or it cannot be written.</exception>
    public TokenFileWriter(string path, Tokenizer tokenizer, bool replace = false)
        : this(path, (tokenizer ?? throw new ArgumentNullException(nameof(tokenizer))).VocabularySize, TokenizerFingerprint.Of(tokenizer),
            tokenizer.EndOfText, replace)
    {
    }

    /// <summary>Begins a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="vocabularySize">One more than the highest id. Up to 65,536, tokens take two bytes, else four.</param>
    /// <param name="fingerprint">What the ids mean: 32 bytes, as of <see cref="TokenizerFingerprint.Of"/>.</param>
    /// <param name="endOfDocument">The id that ends documents, to be told to readers; or null. It is not added here.</param>
    /// <param name="replace">Whether a file of that name is replaced.</param>
    /// <exception cref="TokenFileException">There is such a file and it is not to be replaced, or it cannot be written.</exception>
    public TokenFileWriter(
        string path, int vocabularySize, ReadOnlySpan<byte> fingerprint, int? endOfDocument = null, bool replace = false)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, 1);
        ArgumentOutOfRangeException.ThrowIfNotEqual(fingerprint.Length, TokenizerFingerprint.Length);
        if (endOfDocument is { } id && (uint)id >= (uint)vocabularySize)
        {
            throw new ArgumentOutOfRangeException(nameof(endOfDocument), id, $"The vocabulary has {vocabularySize} tokens.");
        }

        if (!replace && File.Exists(path))
        {
            throw Exists(path);
        }

        Path = path;
        _replace = replace;
        _vocabularySize = vocabularySize;
        _fingerprint = fingerprint.ToArray();
        _endOfDocument = endOfDocument;
        _width = TokenFileHeader.WidthFor(vocabularySize);
        string full = System.IO.Path.GetFullPath(path), suffix = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6));
        string beside = System.IO.Path.Combine(
            System.IO.Path.GetDirectoryName(full)!, $".{System.IO.Path.GetFileName(full)}.{suffix}");
        _temporaryPath = beside + ".new";
        try
        {
            _tokens = new FileStream(_temporaryPath, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, bufferSize: 1);
            try
            {
                _ends = new FileStream(
                    beside + ".ends", FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.DeleteOnClose);
            }
            catch
            {
                _tokens.Dispose();
                File.Delete(_temporaryPath);
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new TokenFileException(path, $"it cannot be written: {e.Message.TrimEnd('.')}", inner: e);
        }

        // The place of the header, whose counts are known at the end.
        _tokens.Write(_buffer, 0, TokenFileHeader.Length);
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The tokens so far.</summary>
    public long TokenCount { get; private set; }

    /// <summary>The documents ended so far.</summary>
    public long DocumentCount { get; private set; }

    /// <summary>Appends tokens to the document that is being written.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An id is not in the vocabulary.</exception>
    public void Append(ReadOnlySpan<int> tokens)
    {
        ObjectDisposedException.ThrowIf(_completed || !_tokens.CanWrite, this);
        foreach (int id in tokens)
        {
            if ((uint)id >= (uint)_vocabularySize)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(tokens), id, $"Document {DocumentCount} has an id that is not in the vocabulary of {_vocabularySize}.");
            }

            if (_buffered == BufferBytes)
            {
                WriteBuffered();
            }

            if (_width == sizeof(ushort))
            {
                MemoryMarshal.Write(_buffer.AsSpan(_buffered), (ushort)id);
            }
            else
            {
                MemoryMarshal.Write(_buffer.AsSpan(_buffered), id);
            }

            _buffered += _width;
        }

        TokenCount += tokens.Length;
    }

    /// <summary>Ends the document that is being written. One without a token is a document too.</summary>
    public void EndDocument()
    {
        ObjectDisposedException.ThrowIf(_completed || !_ends.CanWrite, this);
        long end = TokenCount;
        _ends.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<long>(in end)));
        _lastEnd = end;
        DocumentCount++;
    }

    /// <summary>Brings the file to the disk and gives it its name.</summary>
    /// <exception cref="InvalidOperationException">The last document was not ended.</exception>
    /// <exception cref="TokenFileException">Meanwhile someone else has made a file of that name, and it is not to be replaced.</exception>
    public void Complete()
    {
        ObjectDisposedException.ThrowIf(_completed || !_tokens.CanWrite, this);
        if (_lastEnd != TokenCount)
        {
            throw new InvalidOperationException(
                $"Document {DocumentCount} has {TokenCount - _lastEnd} tokens and was not ended; call {nameof(EndDocument)} first.");
        }

        TokenFileHeader header = new(_width, _vocabularySize, _endOfDocument, TokenCount, DocumentCount, _fingerprint);
        WriteBuffered();
        int padding = (int)(header.EndsAt - _tokens.Position);
        _buffer.AsSpan(0, padding).Clear();
        _buffered = padding;
        WriteBuffered();
        _ends.Position = 0;
        while ((_buffered = _ends.ReadAtLeast(_buffer, _buffer.Length, throwOnEndOfStream: false)) > 0)
        {
            WriteBuffered();
        }

        header.Write(_checksum, _buffer);
        _tokens.Position = 0;
        _tokens.Write(_buffer, 0, TokenFileHeader.Length);
        _tokens.Flush(flushToDisk: true);
        _tokens.Dispose();
        _ends.Dispose();
        try
        {
            File.Move(_temporaryPath, Path, _replace);
        }
        catch (IOException) when (!_replace && File.Exists(Path))
        {
            throw Exists(Path);
        }

        _completed = true;
    }

    /// <summary>Deletes what was written, unless it is complete.</summary>
    public void Dispose()
    {
        _tokens.Dispose();
        _ends.Dispose();
        if (!_completed)
        {
            File.Delete(_temporaryPath);
        }
    }

    private static TokenFileException Exists(string path) =>
        new(path, "there is a file of that name already", "Choose another name, or allow it to be replaced (--force)");

    private void WriteBuffered()
    {
        ReadOnlySpan<byte> bytes = _buffer.AsSpan(0, _buffered);
        _checksum.Append(bytes);
        _tokens.Write(bytes);
        _buffered = 0;
    }
}
