using System.Text;

namespace MambaCuda;

/// <summary>One step of cutting text into the words that byte pair encoding works on.</summary>
internal abstract class PreTokenizer
{
    /// <summary>Cuts a piece and adds its parts to the list; none of them is empty.</summary>
    public abstract void Split(string piece, List<string> parts);
}

/// <summary>What becomes of the delimiters that a step finds.</summary>
internal enum DelimiterBehavior
{
    /// <summary>They vanish.</summary>
    Removed,

    /// <summary>Each is a part of its own.</summary>
    Isolated,

    /// <summary>Each goes with the part before it.</summary>
    MergedWithPrevious,

    /// <summary>Each goes with the part after it.</summary>
    MergedWithNext,

    /// <summary>Delimiters in a row are one part.</summary>
    Contiguous,
}

/// <summary>
/// The step of byte-level tokenizers: perhaps a space before, perhaps <see cref="WordScanner"/>'s cuts, and then each part spelled in the
/// <see cref="ByteLevelAlphabet"/>; later steps see that spelling.
/// </summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool useRegex) : PreTokenizer
{
    /// <summary>Whether a piece that does not begin with a space gets one.</summary>
    public bool AddPrefixSpace => addPrefixSpace;

    /// <summary>Whether GPT-2's pattern cuts the piece.</summary>
    public bool UseRegex => useRegex;

    /// <summary>The length of the first word of what is left of a piece.</summary>
    public int FirstWord(ReadOnlySpan<char> text) => useRegex ? WordScanner.FirstWord(text) : text.Length;

    /// <summary>The piece, with the space before it where one is due.</summary>
    public string Prefixed(string piece) => addPrefixSpace && !piece.StartsWith(' ') ? " " + piece : piece;

    /// <inheritdoc/>
    public override void Split(string piece, List<string> parts)
    {
        ReadOnlySpan<char> rest = Prefixed(piece);
        while (!rest.IsEmpty)
        {
            int length = FirstWord(rest);
            parts.Add(ByteLevelAlphabet.Spell(rest[..length]));
            rest = rest[length..];
        }
    }
}

/// <summary>A step that finds delimiters and treats them as its <see cref="DelimiterBehavior"/> says.</summary>
internal abstract class DelimiterPreTokenizer(DelimiterBehavior behavior) : PreTokenizer
{
    /// <summary>Adds to the list what covers the piece from its start to its end: delimiters, and what stands between.</summary>
    protected abstract void Find(string piece, List<(int Start, int End, bool Delimiter)> spans);

    /// <inheritdoc/>
    public override void Split(string piece, List<string> parts)
    {
        var spans = new List<(int Start, int End, bool Delimiter)>();
        Find(piece, spans);
        int kept = 0;
        for (int i = 0; i < spans.Count; i++)
        {
            (int start, int end, bool delimiter) = spans[i];
            bool afterDelimiter = i > 0 && spans[i - 1].Delimiter;
            bool joins = kept > 0 && behavior switch
            {
                DelimiterBehavior.MergedWithPrevious => delimiter && !afterDelimiter,
                DelimiterBehavior.MergedWithNext => afterDelimiter && !delimiter,
                DelimiterBehavior.Contiguous => delimiter == afterDelimiter,
                _ => false,
            };
            if (joins)
            {
                spans[kept - 1] = (spans[kept - 1].Start, end, delimiter);
            }
            else
            {
                spans[kept++] = (start, end, delimiter);
            }
        }

        foreach ((int start, int end, bool delimiter) in spans.Take(kept))
        {
            if (end > start && !(delimiter && behavior == DelimiterBehavior.Removed))
            {
                parts.Add(piece[start..end]);
            }
        }
    }
}

/// <summary>Cuts at each character of a kind: digits, or punctuation.</summary>
internal sealed class CharacterPreTokenizer(Func<Rune, bool> isDelimiter, DelimiterBehavior behavior) : DelimiterPreTokenizer(behavior)
{
    /// <summary>Whether a character is a number, as Rust's <c>char::is_numeric</c> has it.</summary>
    public static bool IsNumber(Rune rune) => Rune.IsNumber(rune);

    /// <summary>Whether a character is punctuation of Unicode, or one of ASCII's symbols.</summary>
    public static bool IsPunctuation(Rune rune) => rune.IsAscii
        ? rune.Value is (>= '!' and <= '/') or (>= ':' and <= '@') or (>= '[' and <= '`') or (>= '{' and <= '~')
        : Rune.IsPunctuation(rune);

    /// <inheritdoc/>
    protected override void Find(string piece, List<(int Start, int End, bool Delimiter)> spans)
    {
        int start = 0, position = 0;
        foreach (Rune rune in piece.EnumerateRunes())
        {
            int next = position + rune.Utf16SequenceLength;
            if (isDelimiter(rune))
            {
                if (start < position)
                {
                    spans.Add((start, position, false));
                }

                spans.Add((position, next, true));
                start = next;
            }

            position = next;
        }

        if (start < position)
        {
            spans.Add((start, position, false));
        }
    }
}

/// <summary>Cuts at each match of a pattern.</summary>
internal sealed class PatternPreTokenizer(CodePointPattern pattern, DelimiterBehavior behavior, bool invert)
    : DelimiterPreTokenizer(behavior)
{
    /// <inheritdoc/>
    protected override void Find(string piece, List<(int Start, int End, bool Delimiter)> spans)
    {
        int start = 0;
        foreach ((int matchStart, int matchEnd) in pattern.Matches(piece))
        {
            if (start < matchStart)
            {
                spans.Add((start, matchStart, invert));
            }

            spans.Add((matchStart, matchEnd, !invert));
            start = matchEnd;
        }

        if (start < piece.Length)
        {
            spans.Add((start, piece.Length, invert));
        }
    }
}
