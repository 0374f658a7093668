using System.Buffers;
using System.Collections;
using System.Text;

namespace MambaCuda;

/// <summary>
/// Unicode normalization form C (Unicode Standard Annex 15) from a table of our own. <see cref="string.Normalize()"/> asks ICU, and where
/// .NET runs without it (InvariantGlobalization, small containers) returns anything beyond ASCII unchanged, in silence.
/// </summary>
internal static class CanonicalComposition
{
    private const int HangulFirst = 0xAC00, HangulCount = 11172;
    private const int LeadFirst = 0x1100, LeadCount = 19;
    private const int VowelFirst = 0x1161, VowelCount = 21;
    private const int TrailBase = 0x11A7, TrailCount = 28;

    // Nothing below U+0300 and nothing above U+2FA1D is changed by composition.
    private const char FirstOfInterest = '\u0300';
    private const int EndOfInterest = 0x30000;

    private static readonly Dictionary<int, (int First, int Second)> Decompositions = [];
    private static readonly Dictionary<ulong, int> Compositions = [];
    private static readonly Dictionary<int, byte> Classes = [];

    // Characters that are not themselves in form C, or may combine with what stands before them.
    private static readonly BitArray Unsettled = new(EndOfInterest);

    static CanonicalComposition()
    {
        ReadOnlySpan<int> composites = CanonicalMappings.Composites;
        for (int i = 0; i < composites.Length; i += 3)
        {
            Decompositions[composites[i]] = (composites[i + 1], composites[i + 2]);
            Compositions[Pair(composites[i + 1], composites[i + 2])] = composites[i];
            Unsettled[composites[i + 2]] = true;
        }

        ReadOnlySpan<int> others = CanonicalMappings.Decompositions;
        for (int i = 0; i < others.Length; i += 3)
        {
            Decompositions[others[i]] = (others[i + 1], others[i + 2]);
            Unsettled[others[i]] = true;
        }

        ReadOnlySpan<int> classes = CanonicalMappings.CombiningClasses;
        for (int i = 0; i < classes.Length; i += 3)
        {
            for (int code = classes[i]; code <= classes[i + 1]; code++)
            {
                Classes[code] = (byte)classes[i + 2];
                Unsettled[code] = true;
            }
        }

        for (int code = VowelFirst; code < VowelFirst + VowelCount; code++)
        {
            Unsettled[code] = true;
        }

        for (int code = TrailBase + 1; code < TrailBase + TrailCount; code++)
        {
            Unsettled[code] = true;
        }
    }

    /// <summary>The text in form C: the same string where it is so already.</summary>
    /// <param name="text">Text without unpaired surrogates.</param>
    public static string Normalize(string text)
    {
        int position = NextUnsettled(text, 0);
        if (position == text.Length)
        {
            return text;
        }

        var result = new StringBuilder(text.Length);
        var characters = new List<int>();
        int done = 0;
        while (position < text.Length)
        {
            // A stretch begins with the settled character before, which may take up what follows, and ends before the next settled one.
            int start = Math.Max(done, Before(text, position));
            int end = position;
            while (end < text.Length && IsUnsettled(text, end, out int length))
            {
                end += length;
            }

            result.Append(text, done, start - done);
            Compose(text.AsSpan(start, end - start), characters);
            foreach (int code in characters)
            {
                AppendCodePoint(result, code);
            }

            done = end;
            position = NextUnsettled(text, end);
        }

        return result.Append(text, done, text.Length - done).ToString();
    }

    private static int NextUnsettled(string text, int position)
    {
        while (position < text.Length)
        {
            int skip = text.AsSpan(position).IndexOfAnyExceptInRange('\0', (char)(FirstOfInterest - 1));
            if (skip < 0)
            {
                return text.Length;
            }

            position += skip;
            if (IsUnsettled(text, position, out int length))
            {
                return position;
            }

            position += length;
        }

        return position;
    }

    private static bool IsUnsettled(string text, int position, out int length)
    {
        int code = text[position];
        length = 1;
        if (char.IsHighSurrogate((char)code))
        {
            code = char.ConvertToUtf32((char)code, text[position + 1]);
            length = 2;
        }

        return code < EndOfInterest && Unsettled[code];
    }

    private static int Before(string text, int position) =>
        position == 0 ? 0 : position - (char.IsLowSurrogate(text[position - 1]) ? 2 : 1);

    private static void Compose(ReadOnlySpan<char> text, List<int> characters)
    {
        characters.Clear();
        foreach (Rune rune in text.EnumerateRunes())
        {
            Decompose(rune.Value, characters);
        }

        OrderMarks(characters);
        Recompose(characters);
    }

    private static void Decompose(int code, List<int> characters)
    {
        if ((uint)(code - HangulFirst) < HangulCount)
        {
            int syllable = code - HangulFirst;
            characters.Add(LeadFirst + (syllable / (VowelCount * TrailCount)));
            characters.Add(VowelFirst + (syllable / TrailCount % VowelCount));
            if (syllable % TrailCount != 0)
            {
                characters.Add(TrailBase + (syllable % TrailCount));
            }
        }
        else if (Decompositions.TryGetValue(code, out (int First, int Second) parts))
        {
            Decompose(parts.First, characters);
            if (parts.Second != 0)
            {
                Decompose(parts.Second, characters);
            }
        }
        else
        {
            characters.Add(code);
        }
    }

    // Sorts each run of marks by class, keeping the order of equals: as one key of class and place, so that a million marks
    // in a row are no trap.
    private static void OrderMarks(List<int> characters)
    {
        for (int start = 0; start < characters.Count; start++)
        {
            int end = start;
            while (end < characters.Count && Class(characters[end]) != 0)
            {
                end++;
            }

            if (end - start > 1)
            {
                Order(characters, start, end - start);
            }

            start = end;
        }
    }

    private static void Order(List<int> characters, int start, int count)
    {
        ulong[] rented = ArrayPool<ulong>.Shared.Rent(count);
        Span<ulong> keys = rented.AsSpan(0, count);
        for (int i = 0; i < count; i++)
        {
            int code = characters[start + i];
            keys[i] = ((ulong)Class(code) << 56) | ((ulong)(uint)i << 24) | (uint)code;
        }

        keys.Sort();
        for (int i = 0; i < count; i++)
        {
            characters[start + i] = (int)(keys[i] & 0xFFFFFF);
        }

        ArrayPool<ulong>.Shared.Return(rented);
    }

    private static void Recompose(List<int> characters)
    {
        int kept = 0, starter = -1;
        int lastClass = -1;
        for (int i = 0; i < characters.Count; i++)
        {
            int code = characters[i], combining = Class(code);

            // A mark reaches its starter where nothing of its own class or above stands between; a starter only where nothing does.
            if (starter >= 0 && lastClass < combining && TryCompose(characters[starter], code, out int composite))
            {
                characters[starter] = composite;
                continue;
            }

            if (combining == 0)
            {
                starter = kept;
                lastClass = -1;
            }
            else
            {
                lastClass = combining;
            }

            characters[kept++] = code;
        }

        characters.RemoveRange(kept, characters.Count - kept);
    }

    private static bool TryCompose(int first, int second, out int composite)
    {
        if ((uint)(first - LeadFirst) < LeadCount && (uint)(second - VowelFirst) < VowelCount)
        {
            composite = HangulFirst + ((((first - LeadFirst) * VowelCount) + (second - VowelFirst)) * TrailCount);
            return true;
        }

        if ((uint)(first - HangulFirst) < HangulCount && (first - HangulFirst) % TrailCount == 0 &&
            second > TrailBase && second < TrailBase + TrailCount)
        {
            composite = first + (second - TrailBase);
            return true;
        }

        return Compositions.TryGetValue(Pair(first, second), out composite);
    }

    private static byte Class(int code) => Classes.GetValueOrDefault(code);

    private static ulong Pair(int first, int second) => ((ulong)(uint)first << 32) | (uint)second;

    private static void AppendCodePoint(StringBuilder result, int code)
    {
        Span<char> units = stackalloc char[2];
        result.Append(units[..new Rune(code).EncodeToUtf16(units)]);
    }
}
