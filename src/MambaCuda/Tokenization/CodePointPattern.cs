using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace MambaCuda;

/// <summary>
/// A regular expression that matches code points, as those of tokenizer files do, on .NET's engine, which matches UTF-16 units. Before
/// matching, every character beyond the basic plane is replaced by one of the plane that is of the same general category and that the
/// pattern does not name; that is enough for patterns of literals, ranges and categories. Only such are taken: anything else
/// (\w, \b, anchors, back references, scripts) is refused instead of matched differently.
/// </summary>
internal sealed class CodePointPattern
{
    // Longer than any tokenizer's, short enough for the engine to take at once.
    private const int LongestPattern = 4096;
    private const char FirstSurrogate = '\ud800', LastSurrogate = '\udfff';

    // A hostile pattern may backtrack without end; a real one takes microseconds a word.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Regex _regex;

    private CodePointPattern(string translated) =>
        _regex = new Regex(translated, RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, Patience);

    /// <summary>A pattern that matches a text as it stands.</summary>
    public static CodePointPattern Literal(string text) => new(Regex.Escape(text));

    /// <summary>Takes a pattern in the syntax of Oniguruma.</summary>
    /// <exception cref="FormatException">It is not one, or it uses what is not taken; the message says what.</exception>
    public static CodePointPattern Parse(string pattern)
    {
        if (pattern.Length > LongestPattern)
        {
            throw new FormatException($"it is {pattern.Length} characters long, and {LongestPattern} are the most that are taken");
        }

        string translated = new PatternTranslator(pattern).Translate();
        try
        {
            return new CodePointPattern(translated);
        }
        catch (ArgumentException error)
        {
            throw new FormatException(error.Message.TrimEnd('.'), error);
        }
    }

    /// <summary>The matches in a text, in UTF-16 units, from left to right.</summary>
    /// <exception cref="TokenizerException">Matching takes too long: the pattern backtracks.</exception>
    public List<(int Start, int End)> Matches(string text)
    {
        int[]? offsets = null;
        string units = text.AsSpan().IndexOfAnyInRange(FirstSurrogate, LastSurrogate) < 0 ? text : OneUnitEach(text, out offsets);
        var matches = new List<(int Start, int End)>();
        try
        {
            foreach (ValueMatch match in _regex.EnumerateMatches(units))
            {
                int start = match.Index, end = match.Index + match.Length;
                matches.Add(offsets is null ? (start, end) : (offsets[start], offsets[end]));
            }
        }
        catch (RegexMatchTimeoutException error)
        {
            throw new TokenizerException(
                $"The pattern {_regex} of a pre-tokenizer takes more than {Patience.TotalSeconds} s on one text.", error);
        }

        return matches;
    }

    /// <summary>The stand-in for characters of a category beyond the basic plane.</summary>
    public static char StandIn(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter => '\u03D2',
        UnicodeCategory.LowercaseLetter => '\u0138',
        UnicodeCategory.TitlecaseLetter => '\u01C5',
        UnicodeCategory.ModifierLetter => '\u02EC',
        UnicodeCategory.OtherLetter => '\u01BB',
        UnicodeCategory.NonSpacingMark => '\u0483',
        UnicodeCategory.SpacingCombiningMark => '\u0903',
        UnicodeCategory.EnclosingMark => '\u0488',
        UnicodeCategory.DecimalDigitNumber => '\u0660',
        UnicodeCategory.LetterNumber => '\u16EE',
        UnicodeCategory.OtherNumber => '\u09F4',
        UnicodeCategory.Format => '\u2061',
        UnicodeCategory.PrivateUse => '\uE000',
        UnicodeCategory.ConnectorPunctuation => '\u203F',
        UnicodeCategory.DashPunctuation => '\u058A',
        UnicodeCategory.OpenPunctuation => '\u0F3A',
        UnicodeCategory.ClosePunctuation => '\u0F3B',
        UnicodeCategory.OtherPunctuation => '\u05C0',
        UnicodeCategory.MathSymbol => '\u03F6',
        UnicodeCategory.CurrencySymbol => '\u058F',
        UnicodeCategory.ModifierSymbol => '\u02C2',
        UnicodeCategory.OtherSymbol => '\u0482',
        _ => '\u0378',
    };

    private static string OneUnitEach(string text, out int[] offsets)
    {
        offsets = new int[text.Length + 1];
        var units = new StringBuilder(text.Length);
        int position = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            offsets[units.Length] = position;
            units.Append(rune.IsBmp ? (char)rune.Value : StandIn(Rune.GetUnicodeCategory(rune)));
            position += rune.Utf16SequenceLength;
        }

        offsets[units.Length] = position;
        return units.ToString();
    }
}
