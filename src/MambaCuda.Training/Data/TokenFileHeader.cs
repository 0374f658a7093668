using System.Buffers.Binary;
using System.IO.Hashing;

namespace MambaCuda.Training;

/// <summary>
/// The first bytes of a token file, little-endian:
/// magic "MCTOKEN\0", int32 version, int32 bytes of a token (2 or 4), int32 vocabulary size, int32 id that ends a document (-1: none),
/// int64 number of tokens, int64 number of documents, 32 bytes fingerprint of the tokenizer, XXH128 of what follows the header and then of
/// the header to here, XXH64 of the header to here. Then follow the tokens, zeros up to a multiple of 8, and for each document the index
/// of the token after its last (int64).
/// </summary>
internal readonly record struct TokenFileHeader(
    int TokenWidth, int VocabularySize, int? EndOfDocument, long TokenCount, long DocumentCount, byte[] Fingerprint)
{
    public const int Length = 96;
    public const int ChecksumLength = 16;
    private const int Version = 1;
    private const int FingerprintAt = 40;
    private const int ChecksumAt = FingerprintAt + TokenizerFingerprint.Length;
    private const int HeaderChecksumAt = ChecksumAt + ChecksumLength;
    private const int LargestNarrowVocabulary = 1 << 16;

    public static ReadOnlySpan<byte> Magic => "MCTOKEN\0"u8;

    /// <summary>Where the documents' ends begin. Only for counts that <see cref="Read"/> has checked.</summary>
    public long EndsAt => (Length + (TokenCount * TokenWidth) + 7) & ~7L;

    /// <summary>The bytes of the whole file.</summary>
    public long FileLength => EndsAt + (DocumentCount * sizeof(long));

    public static int WidthFor(int vocabularySize) => vocabularySize <= LargestNarrowVocabulary ? sizeof(ushort) : sizeof(int);

    /// <summary>Writes the header.</summary>
    /// <param name="content">The checksum of what follows the header, which is completed with the header.</param>
    /// <param name="destination">Takes <see cref="Length"/> bytes.</param>
    public void Write(XxHash128 content, Span<byte> destination)
    {
        Magic.CopyTo(destination);
        BinaryPrimitives.WriteInt32LittleEndian(destination[8..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(destination[12..], TokenWidth);
        BinaryPrimitives.WriteInt32LittleEndian(destination[16..], VocabularySize);
        BinaryPrimitives.WriteInt32LittleEndian(destination[20..], EndOfDocument ?? -1);
        BinaryPrimitives.WriteInt64LittleEndian(destination[24..], TokenCount);
        BinaryPrimitives.WriteInt64LittleEndian(destination[32..], DocumentCount);
        Fingerprint.CopyTo(destination[FingerprintAt..]);
        content.Append(destination[..ChecksumAt]);
        content.GetHashAndReset(destination[ChecksumAt..]);
        XxHash64.Hash(destination[..HeaderChecksumAt], destination[HeaderChecksumAt..]);
    }

    /// <summary>Reads and checks the header.</summary>
    /// <param name="bytes">The whole header.</param>
    /// <param name="fileLength">The bytes of the whole file, which the counts must fit exactly.</param>
    /// <param name="path">The file, for messages.</param>
    /// <exception cref="TokenFileException">This is no token file, or it is damaged or cut short.</exception>
    public static TokenFileHeader Read(ReadOnlySpan<byte> bytes, long fileLength, string path)
    {
        if (!bytes.StartsWith(Magic))
        {
            throw new TokenFileException(path, "this is not a token file", "Make one with mamba-cuda tokenize");
        }

        if (bytes.Length < Length)
        {
            throw new TokenFileException(path, "the file is cut short within its header", "Make it again");
        }

        int version = BinaryPrimitives.ReadInt32LittleEndian(bytes[8..]);
        if (version != Version)
        {
            throw new TokenFileException(
                path, $"it has format version {version}, but this program reads version {Version}", "Make it again with this program");
        }

        Span<byte> checksum = stackalloc byte[sizeof(ulong)];
        XxHash64.Hash(bytes[..HeaderChecksumAt], checksum);
        if (!checksum.SequenceEqual(bytes[HeaderChecksumAt..Length]))
        {
            throw new TokenFileException(path, "its header is damaged: the checksum does not match", "Make it again");
        }

        int endOfDocument = BinaryPrimitives.ReadInt32LittleEndian(bytes[20..]);
        TokenFileHeader header = new(
            BinaryPrimitives.ReadInt32LittleEndian(bytes[12..]),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[16..]),
            endOfDocument < 0 ? null : endOfDocument,
            BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]),
            bytes[FingerprintAt..ChecksumAt].ToArray());
        header.Check(endOfDocument, fileLength, path);
        return header;
    }

    /// <summary>Whether the checksum of a header is that of its content.</summary>
    /// <param name="bytes">The header.</param>
    /// <param name="content">The checksum of what follows it, which is completed with the header.</param>
    public static bool IsChecksumOf(ReadOnlySpan<byte> bytes, XxHash128 content)
    {
        Span<byte> checksum = stackalloc byte[ChecksumLength];
        content.Append(bytes[..ChecksumAt]);
        content.GetHashAndReset(checksum);
        return checksum.SequenceEqual(bytes[ChecksumAt..HeaderChecksumAt]);
    }

    private void Check(int endOfDocument, long fileLength, string path)
    {
        if (VocabularySize < 1 || TokenWidth != WidthFor(VocabularySize))
        {
            throw new TokenFileException(path, $"it says that a vocabulary of {VocabularySize} tokens takes {TokenWidth} bytes a token");
        }

        if (endOfDocument < -1 || endOfDocument >= VocabularySize)
        {
            throw new TokenFileException(
                path, $"the id that ends a document is {endOfDocument}, which is not in the vocabulary of {VocabularySize}");
        }

        // Counts beyond the file's length are refused before anything is multiplied.
        if (TokenCount < 0 || TokenCount > fileLength || DocumentCount < 0 || DocumentCount > fileLength || FileLength != fileLength)
        {
            throw new TokenFileException(
                path,
                $"it says {TokenCount} tokens in {DocumentCount} documents, which is not what its {fileLength} bytes hold",
                "It may be cut short: make it again");
        }
    }
}
