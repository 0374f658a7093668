using System.Text;

namespace MambaCuda;

/// <summary>
/// Looks for stop strings in a text that comes in pieces. Text that may be the beginning of one is held back until it is known not to be.
/// </summary>
public sealed class StopMatcher
{
    private readonly string[] _stops;
    private readonly StringBuilder _held = new();

    /// <summary>Creates a matcher.</summary>
    /// <param name="stops">The strings to stop at; none is empty.</param>
    /// <exception cref="ArgumentException">A string is empty.</exception>
    public StopMatcher(IEnumerable<string> stops)
    {
        ArgumentNullException.ThrowIfNull(stops);
        _stops = [.. stops];
        if (Array.Exists(_stops, string.IsNullOrEmpty))
        {
            throw new ArgumentException("A stop string is empty; it would stop every text at once.", nameof(stops));
        }
    }

    /// <summary>The stop string that was found, or null as long as none was.</summary>
    public string? Found { get; private set; }

    /// <summary>Takes the next piece.</summary>
    /// <param name="piece">The piece.</param>
    /// <returns>The text that is known to stand before any stop string; after one is found, what stood before it, and then
    /// nothing.</returns>
    public string Append(string piece)
    {
        ArgumentNullException.ThrowIfNull(piece);
        if (_stops.Length == 0)
        {
            return piece;
        }

        if (Found is not null)
        {
            return "";
        }

        string text = _held.Append(piece).ToString();
        int first = int.MaxValue;
        foreach (string stop in _stops)
        {
            int at = text.IndexOf(stop, StringComparison.Ordinal);
            if (at >= 0 && at < first)
            {
                first = at;
                Found = stop;
            }
        }

        int keep = Found is not null ? first : text.Length - LongestBeginning(text);
        _held.Clear();
        if (Found is null)
        {
            _held.Append(text, keep, text.Length - keep);
        }

        return text[..keep];
    }

    /// <summary>Ends the text: returns what was held back, since no stop string can follow.</summary>
    public string Flush()
    {
        string rest = _held.ToString();
        _held.Clear();
        return rest;
    }

    /// <summary>The length of the longest end of the text that is a beginning of a stop string.</summary>
    private int LongestBeginning(string text)
    {
        int longest = 0;
        foreach (string stop in _stops)
        {
            for (int length = Math.Min(stop.Length - 1, text.Length); length > longest; length--)
            {
                if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                {
                    longest = length;
                }
            }
        }

        return longest;
    }
}
