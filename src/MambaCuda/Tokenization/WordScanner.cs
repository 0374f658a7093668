using System.Globalization;
using System.Text;

namespace MambaCuda;

/// <summary>
/// Cuts text into words as GPT-2's pattern does: <c>'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+</c>.
/// By hand, because .NET's expressions match UTF-16 units, and a letter beyond the basic plane is no \p{L} to them.
/// </summary>
internal static class WordScanner
{
    private enum Kind : byte
    {
        Letter,
        Number,
        Space,
        Other,
    }

    /// <summary>The length of the first word, in UTF-16 units; at least 1 where the text is not empty.</summary>
    public static int FirstWord(ReadOnlySpan<char> text)
    {
        int contraction = Contraction(text);
        if (contraction > 0 || text.IsEmpty)
        {
            return contraction;
        }

        int start = text[0] == ' ' && text.Length > 1 ? 1 : 0;
        Kind kind = KindAt(text, start, out _);
        if (kind != Kind.Space)
        {
            return RunEnd(text, start, kind);
        }

        // Of spaces before a word, the last one goes with the word.
        int end = RunEnd(text, 0, Kind.Space);
        return end < text.Length && end > 1 ? end - 1 : end;
    }

    private static int Contraction(ReadOnlySpan<char> text)
    {
        if (text.Length < 2 || text[0] != '\'')
        {
            return 0;
        }

        return text[1] switch
        {
            's' or 't' or 'm' or 'd' => 2,
            'r' or 'v' when text.Length > 2 && text[2] == 'e' => 3,
            'l' when text.Length > 2 && text[2] == 'l' => 3,
            _ => 0,
        };
    }

    private static int RunEnd(ReadOnlySpan<char> text, int position, Kind kind)
    {
        while (position < text.Length && KindAt(text, position, out int length) == kind)
        {
            position += length;
        }

        return position;
    }

    private static Kind KindAt(ReadOnlySpan<char> text, int position, out int length)
    {
        char unit = text[position];
        length = 1;
        if (char.IsAscii(unit))
        {
            return char.IsAsciiLetter(unit) ? Kind.Letter
                : char.IsAsciiDigit(unit) ? Kind.Number
                : unit is ' ' or (>= '\t' and <= '\r') ? Kind.Space
                : Kind.Other;
        }

        _ = Rune.DecodeFromUtf16(text[position..], out Rune rune, out length);
        if (Rune.IsWhiteSpace(rune))
        {
            return Kind.Space;
        }

        return Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or
                UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Kind.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Kind.Number,
            _ => Kind.Other,
        };
    }
}
