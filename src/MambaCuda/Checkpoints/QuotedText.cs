using System.Text;

namespace MambaCuda;

/// <summary>Text from a file as it may stand in a message: quoted, short, and without characters that steer a terminal.</summary>
internal static class QuotedText
{
    private const int LongestShown = 80;

    public static string Quoted(this string text)
    {
        StringBuilder shown = new("'");
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, LongestShown)))
        {
            shown.Append(char.IsControl(c) || char.IsSurrogate(c) ? $"\\u{(int)c:x4}" : c);
        }

        return shown.Append(text.Length > LongestShown ? "...'" : "'").ToString();
    }
}
