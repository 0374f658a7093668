using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace MambaCuda;

/// <summary>
/// Reads a pattern in Oniguruma's syntax and writes the same for .NET. Each construct that is not known to mean the same is refused.
/// </summary>
internal sealed class PatternTranslator(string pattern)
{
    private const int DeepestGroup = 32;

    private static readonly HashSet<string> Categories =
    [
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp",
    ];

    private int _position;

    /// <summary>The pattern for .NET.</summary>
    /// <exception cref="FormatException">The pattern is malformed or uses what is not taken.</exception>
    public string Translate()
    {
        string result = Alternatives(depth: 0, ignoreCase: false);
        return _position == pattern.Length ? result : throw Refused("a ')' without a '('");
    }

    private bool AtEnd => _position == pattern.Length;

    private char Peek => pattern[_position];

    private string Alternatives(int depth, bool ignoreCase)
    {
        if (depth > DeepestGroup)
        {
            throw Refused("so many groups within each other");
        }

        var result = new StringBuilder();
        while (!AtEnd && Peek != ')')
        {
            if (Peek == '|')
            {
                result.Append(pattern[_position++]);
            }
            else
            {
                result.Append(Quantified(Atom(depth, ignoreCase)));
            }
        }

        return result.ToString();
    }

    private string Quantified(string atom)
    {
        if (AtEnd || Peek is not ('?' or '*' or '+' or '{'))
        {
            return atom;
        }

        bool braces = Peek == '{';
        string quantifier = braces ? Braces() : pattern[_position++].ToString();
        string result = atom + quantifier;
        if (!AtEnd && Peek == '?')
        {
            _position++;
            result += "?";
        }
        else if (!AtEnd && Peek == '+' && !braces)
        {
            // A possessive quantifier is an atomic group to .NET.
            _position++;
            result = $"(?>{result})";
        }

        return !AtEnd && Peek is '?' or '*' or '+' or '{' ? throw Refused("a quantifier of a quantifier") : result;
    }

    private string Braces()
    {
        int end = pattern.IndexOf('}', _position);
        string inner = end < 0 ? "" : pattern[(_position + 1)..end];
        string[] bounds = inner.Split(',');
        bool valid = bounds.Length <= 2 && IsCount(bounds[0]) && (bounds.Length == 1 || bounds[1].Length == 0 || IsCount(bounds[1]));
        if (!valid)
        {
            throw Refused("a '{' that is not a count such as {1,3}");
        }

        _position = end + 1;
        return $"{{{inner}}}";
    }

    private static bool IsCount(string text) => text.Length is > 0 and <= 4 && text.All(char.IsAsciiDigit);

    private string Atom(int depth, bool ignoreCase)
    {
        char unit = pattern[_position++];
        switch (unit)
        {
            case '(':
                return Group(depth, ignoreCase);
            case '[':
                return Class(ignoreCase);
            case '\\':
                return Escape(inClass: false, out char? literal) is var escape && literal is { } value
                    ? Literal(value, ignoreCase)
                    : escape;
            case '.':
                return ".";
            case '^' or '$':
                throw Refused($"the anchor '{unit}'");
            case '?' or '*' or '+' or '{':
                throw Refused($"a '{unit}' after nothing");
            default:
                return Literal(unit, ignoreCase);
        }
    }

    private static readonly string[] GroupKinds = ["?:", "?=", "?!", "?<=", "?<!", "?>", "?i:"];

    private string Group(int depth, bool ignoreCase)
    {
        string opening = "(?:";
        if (!AtEnd && Peek == '?')
        {
            opening = GroupKinds.FirstOrDefault(kind => string.CompareOrdinal(pattern, _position, kind, 0, kind.Length) == 0)
                ?? throw Refused("a group of that kind");
            _position += opening.Length;
            ignoreCase |= opening == "?i:";
            opening = opening == "?i:" ? "(?:" : "(" + opening;
        }

        string inner = Alternatives(depth + 1, ignoreCase);
        if (AtEnd)
        {
            throw Refused("a '(' without a ')'");
        }

        _position++;
        return $"{opening}{inner})";
    }

    // Letters of either case are spelled out: the rules of .NET and Oniguruma differ for the long s and the Kelvin sign.
    private string Literal(char unit, bool ignoreCase)
    {
        CheckPlane(unit, unit);
        if (!ignoreCase || (char.IsAscii(unit) && !char.IsAsciiLetter(unit)))
        {
            return Regex.Escape(unit.ToString());
        }

        return !char.IsAscii(unit) ? throw Refused($"'{unit}' without regard to case") : char.ToLowerInvariant(unit) switch
        {
            's' => "[sS\u017F]",
            'k' => "[kK\u212A]",
            char lower => $"[{lower}{char.ToUpperInvariant(lower)}]",
        };
    }

    private string Class(bool ignoreCase)
    {
        if (ignoreCase)
        {
            throw Refused("a character class without regard to case");
        }

        var result = new StringBuilder("[");
        if (!AtEnd && Peek == '^')
        {
            result.Append(pattern[_position++]);
        }

        bool empty = true;
        while (!AtEnd && Peek != ']')
        {
            empty = false;
            string item = ClassItem(out char? first);
            if (first is { } low && _position + 1 < pattern.Length && Peek == '-' && pattern[_position + 1] != ']')
            {
                _position++;
                string upper = ClassItem(out char? last);
                if (last is not { } high || high < low)
                {
                    throw Refused($"the range that ends with {upper}");
                }

                CheckPlane(low, high);
                item = $"{item}-{upper}";
            }
            else if (first is { } single)
            {
                CheckPlane(single, single);
            }

            result.Append(item);
        }

        if (AtEnd || empty)
        {
            throw Refused("a '[' without a ']', or with nothing between");
        }

        _position++;
        return result.Append(']').ToString();
    }

    private string ClassItem(out char? literal)
    {
        char unit = pattern[_position++];
        if (unit == '[' || (unit == '&' && !AtEnd && Peek == '&'))
        {
            throw Refused("a class within a class");
        }

        if (unit == '\\')
        {
            return Escape(inClass: true, out literal);
        }

        literal = unit;
        return InClass(unit);
    }

    private string Escape(bool inClass, out char? literal)
    {
        if (AtEnd)
        {
            throw Refused("a '\\' at the end");
        }

        char unit = pattern[_position++];
        literal = null;
        switch (unit)
        {
            case 's' or 'S' or 'd' or 'D':
                return $"\\{unit}";
            case 'p' or 'P':
                int end = pattern.IndexOf('}', _position);
                string name = end > _position && Peek == '{' ? pattern[(_position + 1)..end] : "";
                if (!Categories.Contains(name))
                {
                    throw Refused($"\\{unit}{{{name}}}, which is not a general category");
                }

                _position = end + 1;
                return $"\\{unit}{{{name}}}";
            case 'n' or 'r' or 't' or 'f' or 'v':
                literal = unit switch { 'n' => '\n', 'r' => '\r', 't' => '\t', 'f' => '\f', _ => '\v' };
                break;
            case 'u' when ushort.TryParse(
                pattern.AsSpan(_position, Math.Min(4, pattern.Length - _position)), NumberStyles.AllowHexSpecifier, null, out ushort code)
                && _position + 4 <= pattern.Length:
                _position += 4;
                literal = (char)code;
                break;
            default:
                literal = char.IsAscii(unit) && char.IsAsciiLetterOrDigit(unit) ? throw Refused($"\\{unit}") : unit;
                break;
        }

        return inClass ? InClass(literal.Value) : "";
    }

    private static string InClass(char unit) => $"\\u{(int)unit:X4}";

    // A literal must not be what stands in for a character beyond the basic plane, nor half of one.
    private void CheckPlane(char low, char high)
    {
        bool standIn = Enum.GetValues<UnicodeCategory>()
            .Any(category => CodePointPattern.StandIn(category) is var unit && low <= unit && unit <= high);
        if (standIn || (low <= '\udfff' && high >= '\ud800'))
        {
            throw Refused($"characters such as U+{(int)low:X4} by name");
        }
    }

    private FormatException Refused(string what) => new($"at character {Math.Min(_position, pattern.Length)} it has {what}");
}
