using System.Buffers;
using System.Globalization;
using System.Text;

namespace MambaCuda;

/// <summary>
/// Finds added tokens in text: the leftmost, and of those that begin there the longest. Which match then counts, and what of the white
/// space around it, follows <c>AddedVocabulary::find_matches</c> of Hugging Face tokenizers to the letter.
/// </summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<(int Node, char Unit), int> _edges = [];
    private readonly List<AddedToken?> _tokenAt = [null];
    private readonly SearchValues<char> _firstUnits;

    /// <summary>Creates a matcher.</summary>
    /// <param name="tokens">The tokens and the text by which each is found; no text is empty or given twice.</param>
    public AddedTokenMatcher(IEnumerable<(string Text, AddedToken Token)> tokens)
    {
        var firstUnits = new HashSet<char>();
        foreach ((string text, AddedToken token) in tokens)
        {
            firstUnits.Add(text[0]);
            int node = 0;
            foreach (char unit in text)
            {
                if (!_edges.TryGetValue((node, unit), out int child))
                {
                    child = _tokenAt.Count;
                    _tokenAt.Add(null);
                    _edges.Add((node, unit), child);
                }

                node = child;
            }

            _tokenAt[node] = token;
        }

        _firstUnits = SearchValues.Create([.. firstUnits]);
    }

    /// <summary>A part of a text: an added token, or what stands between.</summary>
    /// <param name="Start">Its first UTF-16 unit.</param>
    /// <param name="End">The unit after its last.</param>
    /// <param name="Token">The token; null for text between.</param>
    public readonly record struct Part(int Start, int End, AddedToken? Token);

    /// <summary>Cuts a text at the tokens in it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="plainText">Whether special tokens are passed over.</param>
    public List<Part> Split(string text, bool plainText)
    {
        var parts = new List<Part>();
        int done = 0, position = 0;
        while (FindNext(text, position, out int start, out int end) is { } token)
        {
            position = end;
            if ((plainText && token.Special) || (token.SingleWord && TouchesWord(text, start, end)))
            {
                continue;
            }

            if (token.StripLeft)
            {
                start = Math.Max(done, text.AsSpan(0, start).TrimEnd().Length);
            }

            if (token.StripRight)
            {
                end = text.Length - text.AsSpan(end).TrimStart().Length;
            }

            if (done < start)
            {
                parts.Add(new Part(done, start, null));
            }

            parts.Add(new Part(start, end, token));
            done = end;
        }

        if (done < text.Length)
        {
            parts.Add(new Part(done, text.Length, null));
        }

        return parts;
    }

    private AddedToken? FindNext(string text, int position, out int start, out int end)
    {
        for (start = position; start < text.Length; start++)
        {
            int skip = text.AsSpan(start).IndexOfAny(_firstUnits);
            if (skip < 0)
            {
                break;
            }

            start += skip;
            AddedToken? longest = null;
            end = start;
            for (int at = start, node = 0; at < text.Length && _edges.TryGetValue((node, text[at]), out node); at++)
            {
                if (_tokenAt[node] is { } token)
                {
                    longest = token;
                    end = at + 1;
                }
            }

            if (longest is not null)
            {
                return longest;
            }
        }

        start = end = text.Length;
        return null;
    }

    private static bool TouchesWord(string text, int start, int end) =>
        (Rune.DecodeLastFromUtf16(text.AsSpan(0, start), out Rune before, out _) == OperationStatus.Done && IsWord(before)) ||
        (Rune.DecodeFromUtf16(text.AsSpan(end), out Rune after, out _) == OperationStatus.Done && IsWord(after));

    // \w of Unicode Technical Standard 18: alphabetic, marks, decimal digits, connectors and joiners.
    private static bool IsWord(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or
            UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber or
            UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark or
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation => true,
        UnicodeCategory.Format => rune.Value is 0x200C or 0x200D,

        // Circled and squared letters are symbols, yet alphabetic.
        UnicodeCategory.OtherSymbol =>
            rune.Value is (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169)
                or (>= 0x1F170 and <= 0x1F189),
        _ => false,
    };
}
