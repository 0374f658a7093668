using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace MambaCuda.Tests;

/// <summary>
/// Writes a zip archive as torch.save does: stored entries, lengths and checksums behind the data, 64-bit fields where asked for.
/// </summary>
internal sealed class TorchArchive
{
    private readonly List<(string Name, byte[] Data)> _entries = [];

    /// <summary>Writes every length and place into 64-bit fields, as it is done for archives above 4 GB.</summary>
    public bool Wide { get; init; }

    /// <summary>Where an entry should not be stored plainly; 8 is deflate.</summary>
    public ushort Method { get; init; }

    /// <summary>The flags of every entry; bit 3 leaves lengths and checksum to the data descriptor.</summary>
    public ushort Flags { get; init; } = 0x808;

    public TorchArchive Add(string name, ReadOnlySpan<byte> data)
    {
        _entries.Add((name, data.ToArray()));
        return this;
    }

    /// <summary>An archive of this pickle and these storages, numbered from 0.</summary>
    public static TorchArchive Of(byte[] pickle, params byte[][] storages) => new TorchArchive().With(pickle, storages);

    public TorchArchive With(byte[] pickle, params byte[][] storages)
    {
        Add("archive/data.pkl", pickle).Add("archive/byteorder", "little"u8).Add("archive/version", "3\n"u8);
        for (int i = 0; i < storages.Length; i++)
        {
            Add($"archive/data/{i}", storages[i]);
        }

        return this;
    }

    public byte[] ToBytes()
    {
        using MemoryStream zip = new();
        using MemoryStream directory = new();
        foreach ((string name, byte[] data) in _entries)
        {
            WriteEntry(zip, directory, name, data);
        }

        long start = zip.Length, length = directory.Length;
        directory.WriteTo(zip);
        WriteEnd(zip, start, length);
        return zip.ToArray();
    }

    private void WriteEntry(MemoryStream zip, MemoryStream directory, string name, byte[] data)
    {
        long offset = zip.Length;
        uint crc = Crc32.HashToUInt32(data);
        bool described = (Flags & 8) != 0;
        byte[] utf8 = Encoding.UTF8.GetBytes(name);
        byte[] padding = Padding((int)(offset + 30 + utf8.Length));
        Write(zip, 4, 0x04034b50);
        WriteMethod(zip);
        Write(zip, 4, described ? 0 : crc);
        Write(zip, 4, described ? 0 : (uint)data.Length);
        Write(zip, 4, described ? 0 : (uint)data.Length);
        Write(zip, 2, utf8.Length);
        Write(zip, 2, padding.Length);
        zip.Write(utf8);
        zip.Write(padding);
        zip.Write(data);
        if (described && data.Length > 0)
        {
            Write(zip, 4, 0x08074b50);
            Write(zip, 4, crc);
            Write(zip, Wide ? 8 : 4, data.Length);
            Write(zip, Wide ? 8 : 4, data.Length);
        }

        Write(directory, 4, 0x02014b50);
        Write(directory, 2, 0);
        WriteMethod(directory);
        Write(directory, 4, crc);
        Write(directory, 4, Wide ? uint.MaxValue : data.Length);
        Write(directory, 4, Wide ? uint.MaxValue : data.Length);
        Write(directory, 2, utf8.Length);
        Write(directory, 2, Wide ? 28 : 0);
        Write(directory, 2, 0);
        Write(directory, 8, 0);
        Write(directory, 4, Wide ? uint.MaxValue : offset);
        directory.Write(utf8);
        if (Wide)
        {
            Write(directory, 2, 1);
            Write(directory, 2, 24);
            Write(directory, 8, data.Length);
            Write(directory, 8, data.Length);
            Write(directory, 8, offset);
        }
    }

    private void WriteMethod(MemoryStream stream)
    {
        Write(stream, 2, 0);
        Write(stream, 2, Flags);
        Write(stream, 2, Method);
        Write(stream, 4, 0);
    }

    private void WriteEnd(MemoryStream zip, long start, long length)
    {
        if (Wide)
        {
            long end = zip.Length;
            Write(zip, 4, 0x06064b50);
            Write(zip, 8, 44);
            Write(zip, 4, 0);
            Write(zip, 8, 0);
            Write(zip, 8, _entries.Count);
            Write(zip, 8, _entries.Count);
            Write(zip, 8, length);
            Write(zip, 8, start);
            Write(zip, 4, 0x07064b50);
            Write(zip, 4, 0);
            Write(zip, 8, end);
            Write(zip, 4, 1);
        }

        Write(zip, 4, 0x06054b50);
        Write(zip, 4, 0);
        Write(zip, 2, Wide ? ushort.MaxValue : _entries.Count);
        Write(zip, 2, Wide ? ushort.MaxValue : _entries.Count);
        Write(zip, 4, Wide ? uint.MaxValue : length);
        Write(zip, 4, Wide ? uint.MaxValue : start);
        Write(zip, 2, 0);
    }

    /// <summary>An extra field that brings the data to a multiple of 64.</summary>
    private static byte[] Padding(int at)
    {
        int length = (64 - ((at + 4) % 64)) % 64;
        return [(byte)'F', (byte)'B', (byte)length, 0, .. new byte[length]];
    }

    private static void Write(MemoryStream stream, int bytes, long value)
    {
        Span<byte> buffer = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(buffer, value);
        stream.Write(buffer[..bytes]);
    }
}
