using System.Text;

namespace MambaCuda;

/// <summary>
/// The alphabet in which byte-level tokenizers spell bytes (GPT-2): printable bytes of Latin-1 are themselves, all others U+0100 and on,
/// so that every byte is a visible character: a space is "Ġ", a line feed "Ċ".
/// </summary>
internal static class ByteLevelAlphabet
{
    private static readonly char[] Characters = new char[256];
    private static readonly short[] Bytes = new short[256 + 68];

    static ByteLevelAlphabet()
    {
        Array.Fill(Bytes, (short)-1);
        char next = '\u0100';
        for (int value = 0; value < 256; value++)
        {
            bool itself = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE;
            char character = itself ? (char)value : next++;
            Characters[value] = character;
            Bytes[character] = (short)value;
        }
    }

    /// <summary>How a byte is spelled.</summary>
    public static char Character(byte value) => Characters[value];

    /// <summary>The byte that a character spells, or -1 where it spells none.</summary>
    public static int Byte(char character) => character < Bytes.Length ? Bytes[character] : -1;

    /// <summary>Text spelled in the alphabet.</summary>
    public static string Spell(ReadOnlySpan<char> text)
    {
        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(text)];
        Encoding.UTF8.GetBytes(text, bytes);
        return string.Create(bytes.Length, bytes, static (characters, source) =>
        {
            for (int i = 0; i < source.Length; i++)
            {
                characters[i] = Characters[source[i]];
            }
        });
    }

    /// <summary>
    /// The bytes that a token spells; where one of its characters is not of the alphabet (an added token with a space), its UTF-8.
    /// </summary>
    public static byte[] TokenBytes(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            int value = Byte(token[i]);
            if (value < 0)
            {
                return Encoding.UTF8.GetBytes(token);
            }

            bytes[i] = (byte)value;
        }

        return bytes;
    }
}
