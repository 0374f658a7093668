using System.Buffers;
using System.Text;

namespace MambaCuda;

/// <summary>
/// Decodes a stream of ids as they come. What it returns never ends within a character: the bytes of an unfinished one are held back until
/// the next id completes it. All that it returned, with <see cref="Flush"/> at the end, is what <see cref="Tokenizer.Decode"/> makes of all
/// ids.
/// </summary>
public sealed class StreamingDecoder
{
    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecial;
    private readonly Decoder _utf8 = new UTF8Encoding().GetDecoder();

    /// <summary>Starts a text.</summary>
    /// <param name="tokenizer">Whose ids they are.</param>
    /// <param name="skipSpecial">Whether special tokens are left out.</param>
    public StreamingDecoder(Tokenizer tokenizer, bool skipSpecial = false)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _tokenizer = tokenizer;
        _skipSpecial = skipSpecial;
    }

    /// <summary>Takes the next id and returns the text that it completes; empty where a character is still unfinished.</summary>
    public string Append(int id) => _skipSpecial && _tokenizer.IsSpecial(id) ? "" : Convert(_tokenizer.TokenBytes(id), flush: false);

    /// <summary>Ends the text: an unfinished character becomes U+FFFD. The next id begins a new text.</summary>
    public string Flush() => Convert([], flush: true);

    private string Convert(ReadOnlySpan<byte> bytes, bool flush)
    {
        const int OnStack = 256;
        int capacity = Encoding.UTF8.GetMaxCharCount(bytes.Length);
        char[]? rented = capacity > OnStack ? ArrayPool<char>.Shared.Rent(capacity) : null;
        Span<char> characters = rented ?? stackalloc char[OnStack];
        int length = _utf8.GetChars(bytes, characters, flush);
        string text = length == 0 ? "" : new string(characters[..length]);
        if (rented is not null)
        {
            ArrayPool<char>.Shared.Return(rented);
        }

        return text;
    }
}
