namespace MambaCuda.Training;

/// <summary>
/// Cuts files into pieces, so that a file of any size takes bounded memory and keeps all threads busy. Text is cut before a single space
/// between words, which the usual tokenizers give to the word behind it: the tokens are those of the text in one piece. Where a piece has
/// no such place, as in a language without spaces, it is cut behind its last line, or between two characters.
/// </summary>
internal static class CorpusReader
{
    public const int PieceBytes = 1 << 20;
    public const int LongestLine = 1 << 28;

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>The pieces of a text; the last may be empty.</summary>
    public static IEnumerable<CorpusPiece> Text(Stream stream, string source, int pieceBytes)
    {
        byte[] buffer = new byte[pieceBytes];
        long position = 0;
        for (int kept = 0; ;)
        {
            int filled = kept + stream.ReadAtLeast(buffer.AsSpan(kept), buffer.Length - kept, throwOnEndOfStream: false);
            int start = position == 0 && buffer.AsSpan(0, filled).StartsWith(ByteOrderMark) ? ByteOrderMark.Length : 0;
            if (filled < buffer.Length)
            {
                yield return new CorpusPiece(source, buffer[start..filled], position + start, IsJson: false, EndsFile: true);
                yield break;
            }

            int cut = CutOf(buffer);
            yield return new CorpusPiece(source, buffer[start..cut], position + start, IsJson: false, EndsFile: false);
            buffer.AsSpan(cut).CopyTo(buffer);
            kept = buffer.Length - cut;
            position += cut;
        }
    }

    /// <summary>The lines of a file, so many at once as fit a piece.</summary>
    /// <exception cref="CorpusException">A line is too long to be held.</exception>
    public static IEnumerable<CorpusPiece> Lines(Stream stream, string source, int pieceBytes)
    {
        byte[] buffer = new byte[pieceBytes];
        long line = 1;
        bool first = true;
        for (int kept = 0; ;)
        {
            int filled = kept + stream.ReadAtLeast(buffer.AsSpan(kept), buffer.Length - kept, throwOnEndOfStream: false);
            int start = first && buffer.AsSpan(0, filled).StartsWith(ByteOrderMark) ? ByteOrderMark.Length : 0;
            bool atEnd = filled < buffer.Length;
            int cut = atEnd ? filled : buffer.AsSpan(0, filled).LastIndexOf((byte)'\n') + 1;
            if (cut > start)
            {
                yield return new CorpusPiece(source, buffer[start..cut], line, IsJson: true, EndsFile: atEnd);
                line += buffer.AsSpan(start, cut - start).Count((byte)'\n');
                first = false;
            }
            else if (!atEnd)
            {
                if (buffer.Length >= LongestLine)
                {
                    throw new CorpusException(source, $"line {line} is longer than {LongestLine:N0} bytes", "Are these JSON lines?");
                }

                Array.Resize(ref buffer, Math.Min(LongestLine, buffer.Length * 2));
            }

            if (atEnd)
            {
                yield break;
            }

            buffer.AsSpan(cut, filled - cut).CopyTo(buffer);
            kept = filled - cut;
        }
    }

    /// <summary>Where to cut a full buffer; at least one byte stays for the next piece, and at least one goes.</summary>
    private static int CutOf(ReadOnlySpan<byte> buffer)
    {
        for (int at = buffer.Length - 2; at > 0; at--)
        {
            if (buffer[at] == ' ' && !IsSpace(buffer[at - 1]) && !IsSpace(buffer[at + 1]))
            {
                return at;
            }
        }

        int line = buffer[..^1].LastIndexOf((byte)'\n') + 1;
        if (line > 0)
        {
            return line;
        }

        int character = buffer.Length - 1;
        while (character > buffer.Length - 4 && character > 1 && (buffer[character] & 0xC0) == 0x80)
        {
            character--;
        }

        return character;
    }

    private static bool IsSpace(byte value) => value is (byte)' ' or (>= 9 and <= 13);
}
