using System.Text;

namespace MambaCuda;

/// <summary>
/// The tokenizer of byte-level models: ids 0 to 255 are the bytes of UTF-8. One id may end a text: a byte that texts do not hold (0), or
/// one of its own (256 or more). On disk it is a <c>tokenizer.json</c> such as <c>{ "type": "byte", "end_of_text": 0 }</c>.
/// </summary>
public sealed class ByteTokenizer : Tokenizer
{
    private const int ByteCount = 256;

    // Far more than any special id needs; keeps a damaged file from asking for a vocabulary of billions.
    internal const int HighestEndOfText = 1 << 16;

    private static readonly byte[] AllBytes = [.. Enumerable.Range(0, ByteCount).Select(value => (byte)value)];

    /// <summary>Creates one.</summary>
    /// <param name="endOfText">The id that ends a text, or null where there is none.</param>
    /// <exception cref="ArgumentOutOfRangeException">The id is negative, or beyond 65,536.</exception>
    public ByteTokenizer(int? endOfText = null)
    {
        if (endOfText is < 0 or > HighestEndOfText)
        {
            throw new ArgumentOutOfRangeException(
                nameof(endOfText), endOfText, $"The end of text must be an id from 0 to {HighestEndOfText}.");
        }

        EndOfText = endOfText;
        VocabularySize = Math.Max(ByteCount, (endOfText ?? 0) + 1);
    }

    /// <inheritdoc/>
    public override int VocabularySize { get; }

    /// <inheritdoc/>
    public override int? EndOfText { get; }

    /// <inheritdoc/>
    /// <remarks>There is nothing to add and no spelling of a special token: both options change nothing.</remarks>
    public override int[] Encode(string text, bool addSpecialTokens = true, bool plainText = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        return [.. Encoding.UTF8.GetBytes(text)];
    }

    /// <summary>
    /// The id of a token that is spelled as one character of ASCII, or as &lt;0xNN&gt; for any byte; null for anything else.
    /// </summary>
    public override int? TokenId(string token)
    {
        ArgumentNullException.ThrowIfNull(token);
        if (token.Length == 1 && char.IsAscii(token[0]))
        {
            return token[0];
        }

        return token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>' &&
            byte.TryParse(token.AsSpan(3, 2), System.Globalization.NumberStyles.AllowHexSpecifier, null, out byte value) ? value : null;
    }

    /// <inheritdoc/>
    public override bool IsSpecial(int id) => id == EndOfText;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> TokenBytes(int id) => (uint)id < ByteCount ? AllBytes.AsSpan(id, 1) : [];
}
