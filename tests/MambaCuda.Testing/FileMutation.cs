using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace MambaCuda.Testing;

/// <summary>
/// A file made hostile: one to three random changes of the kinds that break readers. The seed alone decides which,
/// so that a failure that names its seed can be repeated with <see cref="Of"/>.
/// </summary>
/// <param name="Seed">What it was made from.</param>
/// <param name="Description">What was changed, for people.</param>
/// <param name="Bytes">The changed file.</param>
public sealed record FileMutation(int Seed, string Description, byte[] Bytes)
{
    private const int EdgeLength = 4096;

    private static readonly string[] HostileNumbers =
    [
        "0", "-1", "1", "-0", "1.5", "1e3", "1e999", "-1e999", "255", "65536", "2147483647", "2147483648", "-2147483648",
        "4294967295", "4294967296", "1099511627776", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
        "18446744073709551615", "18446744073709551616",
        "99999999999999999999999999999999", "NaN", "null", "true", "\"1\"", "[]", "[1]", "{}",
    ];

    private static readonly string[] HostileTexts =
    [
        "\"", "\\", "\\u0000", "\\ud800", "\0", "\r\n", "{", "}", "[", "]", ",", ":", ",,", "null", "../",
        "/etc/passwd", "..\\", "%s%n", "\ufeff",
        "\"a\":1,", "\"a\":1,\"a\":1,", "// comment", "Infinity",
    ];

    private static readonly long[] HostileIntegers =
    [
        0, 1, -1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, int.MaxValue, int.MinValue, uint.MaxValue,
        1L << 32, 1L << 40, long.MaxValue, long.MinValue,
    ];

    /// <summary>The mutation of a file that belongs to a seed.</summary>
    public static FileMutation Of(ReadOnlySpan<byte> original, int seed)
    {
        Random random = new(seed);
        List<byte> bytes = [.. original];
        int changes = random.Next(4) switch { 0 => 2, 1 => 3, _ => 1 };
        List<string> descriptions = [];
        for (int i = 0; i < changes; i++)
        {
            descriptions.Add(Change(bytes, random));
        }

        return new FileMutation(seed, string.Join("; ", descriptions), [.. bytes]);
    }

    private static string Change(List<byte> bytes, Random random)
    {
        int at = Position(bytes, random);
        int length = Math.Min(bytes.Count - at, 1 + random.Next(random.Next(2) == 0 ? 8 : 256));
        switch (random.Next(15))
        {
            case 0:
                bytes.RemoveRange(at, bytes.Count - at);
                return $"cut off at {at}";
            case 1:
                bytes.RemoveRange(at, length);
                return $"{length} bytes removed at {at}";
            case 2:
                bytes.InsertRange(at, bytes.GetRange(at, length));
                return $"{length} bytes doubled at {at}";
            case 3:
                byte[] noise = new byte[length];
                random.NextBytes(noise);
                return Overwrite(bytes, at, noise, "noise");
            case 4:
                return Overwrite(bytes, at, Filled(length, 0xff), "0xff");
            case 5:
                return Overwrite(bytes, at, Filled(length, 0), "zero");
            case 6:
                return InsertNumber(bytes, random);
            case 7:
                return InsertNumber(bytes, random);
            case 8:
                string text = HostileTexts[random.Next(HostileTexts.Length)];
                bytes.InsertRange(at, Encoding.UTF8.GetBytes(text));
                return $"'{text}' inserted at {at}";
            case 9:
                int depth = 1 << random.Next(4, 18);
                bytes.InsertRange(at, Filled(depth, random.Next(2) == 0 ? (byte)'[' : (byte)'{'));
                return $"{depth} brackets inserted at {at}";
            case 10:
                byte[] integer = new byte[8];
                BinaryPrimitives.WriteInt64LittleEndian(integer, HostileIntegers[random.Next(HostileIntegers.Length)]);
                return Overwrite(bytes, at, integer[..(1 << random.Next(1, 4))], "an integer");
            case 11:
                int from = Position(bytes, random);
                List<byte> piece = bytes.GetRange(from, Math.Min(length, bytes.Count - from));
                return Overwrite(bytes, at, [.. piece], $"a copy from {from}");
            case 12:
                byte[] tail = new byte[length];
                random.NextBytes(tail);
                bytes.AddRange(tail);
                return $"{length} bytes of noise at the end";
            default:
                if (bytes.Count == 0)
                {
                    return "nothing";
                }

                int bit = random.Next(8);
                bytes[at] ^= (byte)(1 << bit);
                return $"bit {bit} flipped at {at}";
        }
    }

    /// <summary>Readers decide at the edges of a file, where headers and directories are: half of all changes happen there.</summary>
    private static int Position(List<byte> bytes, Random random)
    {
        int edge = Math.Min(EdgeLength, bytes.Count);
        int position = random.Next(4) switch
        {
            0 => random.Next(edge),
            1 => bytes.Count - random.Next(edge) - 1,
            _ => random.Next(bytes.Count),
        };
        return Math.Clamp(position, 0, Math.Max(bytes.Count - 1, 0));
    }

    /// <summary>Puts a hostile number in the place of a number that stands in the file as text.</summary>
    private static string InsertNumber(List<byte> bytes, Random random)
    {
        int start = Position(bytes, random);
        int at = bytes.FindIndex(start, value => value is >= (byte)'0' and <= (byte)'9');
        if (at < 0)
        {
            return "nothing";
        }

        int end = bytes.FindIndex(at, value => value is < (byte)'0' or > (byte)'9');
        string number = random.Next(3) == 0
            ? random.NextInt64(1000).ToString(CultureInfo.InvariantCulture)
            : HostileNumbers[random.Next(HostileNumbers.Length)];
        bytes.RemoveRange(at, (end < 0 ? bytes.Count : end) - at);
        bytes.InsertRange(at, Encoding.ASCII.GetBytes(number));
        return $"the number at {at} became {number}";
    }

    private static string Overwrite(List<byte> bytes, int at, byte[] values, string what)
    {
        int count = Math.Min(values.Length, bytes.Count - at);
        for (int i = 0; i < count; i++)
        {
            bytes[at + i] = values[i];
        }

        return $"{count} bytes at {at} became {what}";
    }

    private static byte[] Filled(int length, byte value)
    {
        byte[] filled = new byte[length];
        Array.Fill(filled, value);
        return filled;
    }
}
