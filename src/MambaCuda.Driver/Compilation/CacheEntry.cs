using System.Security.Cryptography;
using System.Text;

namespace MambaCuda.Driver;

/// <summary>
/// A compiled program as bytes: a mark, the SHA-256 of the rest, the key that it was compiled under, and the program.
/// </summary>
internal static class CacheEntry
{
    private const int HashLength = SHA256.HashSizeInBytes;

    private static ReadOnlySpan<byte> Mark => "MCKERNL1"u8;

    public static byte[] Write(ReadOnlySpan<byte> key, CompiledProgram program)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream, Encoding.UTF8);
        writer.Write(Mark);
        writer.Write(new byte[HashLength]);
        writer.Write(key);
        writer.Write(program.Log);
        writer.Write(program.LoweredNames.Count);
        foreach ((string expression, string name) in program.LoweredNames)
        {
            writer.Write(expression);
            writer.Write(name);
        }

        writer.Write(program.Image.Length);
        writer.Write(program.Image.Span);
        writer.Flush();

        byte[] entry = stream.ToArray();
        SHA256.HashData(entry.AsSpan(Mark.Length + HashLength), entry.AsSpan(Mark.Length));
        return entry;
    }

    /// <summary>The program, or null where the bytes are not what was once written under the key.</summary>
    public static CompiledProgram? Read(ReadOnlySpan<byte> key, GpuArchitecture architecture, byte[] entry)
    {
        int start = Mark.Length + HashLength;
        if (entry.Length < start + key.Length
            || !entry.AsSpan().StartsWith(Mark)
            || !SHA256.HashData(entry.AsSpan(start)).AsSpan().SequenceEqual(entry.AsSpan(Mark.Length, HashLength))
            || !entry.AsSpan(start).StartsWith(key))
        {
            return null;
        }

        // The checksum holds, so from here on the bytes are as they were written.
        using BinaryReader reader = new(new MemoryStream(entry, start + key.Length, entry.Length - start - key.Length), Encoding.UTF8);
        string log = reader.ReadString();
        Dictionary<string, string> names = [];
        for (int count = reader.ReadInt32(); count > 0; count--)
        {
            string expression = reader.ReadString();
            names[expression] = reader.ReadString();
        }

        byte[] image = reader.ReadBytes(reader.ReadInt32());
        return new CompiledProgram(architecture, image, names, log, isFromCache: true);
    }
}
