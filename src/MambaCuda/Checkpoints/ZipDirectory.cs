using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace MambaCuda;

/// <summary>
/// Reads the directory of a zip archive in a mapped file so that its entries can be used where they lie. An archive can say
/// everything twice (central directory and local headers, 32-bit and 64-bit fields, data descriptors): all must agree, so that no two
/// readers see different contents. Every entry's CRC-32 is verified. Entries must be stored without compression, as torch.save does.
/// </summary>
internal sealed class ZipDirectory
{
    private const uint LocalSignature = 0x04034b50;
    private const uint CentralSignature = 0x02014b50;
    private const uint DescriptorSignature = 0x08074b50;
    private const uint EndSignature = 0x06054b50;
    private const uint End64Signature = 0x06064b50;
    private const uint Locator64Signature = 0x07064b50;
    private const int LocalLength = 30;
    private const int CentralLength = 46;
    private const int EndLength = 22;
    private const int End64Length = 56;
    private const int Locator64Length = 20;
    private const int MostEntries = 1 << 18;
    private const ushort Zip64Tag = 1;
    private const ushort Wide16 = ushort.MaxValue;
    private const uint Wide32 = uint.MaxValue;

    // The flags that change nothing for stored entries: two for the effort of compression, one for UTF-8 names.
    private const ushort Encrypted = 1;
    private const ushort HasDescriptor = 1 << 3;
    private const ushort KnownFlags = HasDescriptor | (1 << 1) | (1 << 2) | (1 << 11);

    // Below this, handing the checksums to other threads costs more than it saves.
    private const long ParallelFrom = 1 << 24;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly MappedFile _file;

    private ZipDirectory(MappedFile file) => _file = file;

    /// <summary>The entries by name, all verified.</summary>
    /// <exception cref="CheckpointException">The archive is damaged, or uses what torch.save does not.</exception>
    public static IReadOnlyDictionary<string, ZipEntry> Read(MappedFile file)
    {
        ZipDirectory directory = new(file);
        (long start, long length, long count) = directory.FindCentralDirectory();
        List<Record> records = directory.ReadCentralDirectory(start, length, count);
        Dictionary<string, ZipEntry> entries = new(records.Count);
        foreach (Record record in records)
        {
            if (!entries.TryAdd(record.Name, directory.Locate(record)))
            {
                throw directory.Refused($"holds {record.Name.Quoted()} twice");
            }
        }

        directory.CheckOverlaps(records, entries, start);
        directory.CheckSums(records, entries);
        return entries;
    }

    /// <summary>What the central directory says of an entry.</summary>
    private readonly record struct Record(string Name, ushort Flags, uint Crc, long Length, long HeaderOffset);

    private (long Start, long Length, long Count) FindCentralDirectory()
    {
        long end = FindEnd();
        ReadOnlySpan<byte> record = _file.Span(end, EndLength);
        long count = U16(record, 10), length = U32(record, 12), start = U32(record, 16);
        bool onOneDisk = U16(record, 4) is 0 or Wide16 && U16(record, 6) is 0 or Wide16 && U16(record, 8) == U16(record, 10);
        long limit = end;
        if (end >= Locator64Length && U32(_file.Span(end - Locator64Length, 4), 0) == Locator64Signature)
        {
            long locator = end - Locator64Length;
            long end64 = I64(_file.Span(locator, Locator64Length), 8);
            if (end64 < 0 || end64 > locator - End64Length || U32(_file.Span(end64, 4), 0) != End64Signature)
            {
                throw Refused("its zip64 end record is not where the locator says");
            }

            ReadOnlySpan<byte> wide = _file.Span(end64, End64Length);
            (long wideCount, long wideLength, long wideStart) = (I64(wide, 32), I64(wide, 40), I64(wide, 48));
            if ((count != Wide16 && count != wideCount)
                || (length != Wide32 && length != wideLength)
                || (start != Wide32 && start != wideStart)
                || I64(wide, 4) != locator - end64 - 12)
            {
                throw Refused("its end record and its zip64 end record disagree");
            }

            onOneDisk &= U32(wide, 16) == 0 && U32(wide, 20) == 0 && I64(wide, 24) == wideCount
                && U32(_file.Span(locator, Locator64Length), 4) == 0;
            (start, length, count, limit) = (wideStart, wideLength, wideCount, end64);
        }

        if (!onOneDisk)
        {
            throw Refused("is one part of an archive of several");
        }

        return start >= 0 && length >= 0 && start <= limit && length == limit - start && count is >= 0 and <= MostEntries
            ? (start, length, count)
            : throw Refused($"its end record describes a directory of {count} entries, {length} bytes at {start}, which is not there");
    }

    /// <summary>The end record: its comment reaches to the last byte of the file.</summary>
    private long FindEnd()
    {
        long earliest = Math.Max(0, _file.ByteLength - EndLength - ushort.MaxValue);
        for (long at = _file.ByteLength - EndLength; at >= earliest; at--)
        {
            ReadOnlySpan<byte> record = _file.Span(at, EndLength);
            if (U32(record, 0) == EndSignature && at + EndLength + U16(record, 20) == _file.ByteLength)
            {
                return at;
            }
        }

        throw Refused("is not a zip archive, or is cut off: it has no end record");
    }

    private List<Record> ReadCentralDirectory(long start, long length, long count)
    {
        List<Record> records = [];
        long at = start, end = start + length;
        for (long i = 0; i < count; i++)
        {
            if (end - at < CentralLength || U32(_file.Span(at, 4), 0) != CentralSignature)
            {
                throw Refused($"its directory breaks off at entry {i} of {count}");
            }

            ReadOnlySpan<byte> header = _file.Span(at, CentralLength);
            int nameLength = U16(header, 28), extraLength = U16(header, 30), commentLength = U16(header, 32);
            if (end - at - CentralLength < nameLength + extraLength + commentLength)
            {
                throw Refused($"its directory breaks off at entry {i} of {count}");
            }

            string name = Name(_file.Span(at + CentralLength, nameLength));
            records.Add(ReadRecord(name, header, _file.Span(at + CentralLength + nameLength, extraLength)));
            at += CentralLength + nameLength + extraLength + commentLength;
        }

        return at == end ? records : throw Refused($"its directory is {end - at} bytes longer than its {count} entries");
    }

    private Record ReadRecord(string name, ReadOnlySpan<byte> header, ReadOnlySpan<byte> extra)
    {
        ushort flags = U16(header, 8);
        CheckMethod(name, flags, U16(header, 10));
        long compressed = U32(header, 20), length = U32(header, 24), offset = U32(header, 42);
        ReadOnlySpan<byte> wide = Zip64(extra);
        length = Widened(name, length, ref wide);
        compressed = Widened(name, compressed, ref wide);
        offset = Widened(name, offset, ref wide);
        if (U16(header, 34) is not (0 or Wide16))
        {
            throw Refused($"the entry {name.Quoted()} lies in another part of the archive");
        }

        return compressed == length
            ? new Record(name, flags, U32(header, 16), length, offset)
            : throw Refused($"the entry {name.Quoted()} is stored, but says that its {length} bytes take {compressed}");
    }

    private void CheckMethod(string name, ushort flags, ushort method)
    {
        if ((flags & Encrypted) != 0)
        {
            throw Refused($"the entry {name.Quoted()} is encrypted");
        }

        if (method != 0)
        {
            string what = method == 8 ? "deflate" : $"method {method}";
            throw new CheckpointException(
                _file.Path, $"the entry {name.Quoted()} is compressed ({what}), which torch.save never does",
                "Load it in PyTorch and save it again with torch.save");
        }

        if ((flags & ~KnownFlags) != 0)
        {
            throw Refused($"the entry {name.Quoted()} has unknown flags (0x{flags:x4})");
        }
    }

    /// <summary>Finds the data of an entry behind its local header, which must say what the directory says.</summary>
    private ZipEntry Locate(Record record)
    {
        string name = record.Name;
        if (record.HeaderOffset < 0 || record.HeaderOffset > _file.ByteLength - LocalLength
            || U32(_file.Span(record.HeaderOffset, 4), 0) != LocalSignature)
        {
            throw Refused($"the entry {name.Quoted()} has no local header where the directory says");
        }

        ReadOnlySpan<byte> header = _file.Span(record.HeaderOffset, LocalLength);
        int nameLength = U16(header, 26), extraLength = U16(header, 28);
        long nameStart = record.HeaderOffset + LocalLength, start = nameStart + nameLength + extraLength;
        if (record.Length < 0 || start > _file.ByteLength || record.Length > _file.ByteLength - start)
        {
            throw Refused($"the entry {name.Quoted()} with {record.Length} bytes reaches past the end of the file");
        }

        long length = U32(header, 22), compressed = U32(header, 18);
        uint crc = U32(header, 14);
        if (length == Wide32 || compressed == Wide32)
        {
            ReadOnlySpan<byte> wide = Zip64(_file.Span(nameStart + nameLength, extraLength));
            length = Widened(name, length, ref wide);
            compressed = Widened(name, compressed, ref wide);
        }

        bool described = (record.Flags & HasDescriptor) != 0;
        bool leftOpen = described && crc == 0 && length == 0 && compressed == 0;
        if (U16(header, 6) != record.Flags || U16(header, 8) != 0 || Name(_file.Span(nameStart, nameLength)) != name
            || (!leftOpen && (crc != record.Crc || length != record.Length || compressed != record.Length)))
        {
            throw Refused($"the local header of {name.Quoted()} disagrees with the directory");
        }

        // PyTorch's writer leaves the descriptor of an empty entry out.
        if (described && record.Length > 0 && !HasRightDescriptor(start + record.Length, record))
        {
            throw Refused($"the data descriptor of {name.Quoted()} disagrees with the directory");
        }

        return new ZipEntry(name, start, record.Length);
    }

    /// <summary>A descriptor may or may not have a signature, and lengths of 4 or of 8 bytes; which, nothing says.</summary>
    private bool HasRightDescriptor(long at, Record record)
    {
        Span<byte> expected = stackalloc byte[24];
        foreach (bool wide in new[] { false, true })
        {
            BinaryPrimitives.WriteUInt32LittleEndian(expected, DescriptorSignature);
            BinaryPrimitives.WriteUInt32LittleEndian(expected[4..], record.Crc);
            int length = wide ? 24 : 16;
            BinaryPrimitives.WriteInt64LittleEndian(expected[8..], record.Length);
            BinaryPrimitives.WriteInt64LittleEndian(expected[(wide ? 16 : 12)..], record.Length);
            if (StartsWith(at, expected[..length]) || StartsWith(at, expected[4..length]))
            {
                return wide || record.Length < Wide32;
            }
        }

        return false;
    }

    private bool StartsWith(long at, ReadOnlySpan<byte> expected) =>
        at <= _file.ByteLength - expected.Length && _file.Span(at, expected.Length).SequenceEqual(expected);

    /// <summary>Two entries that share bytes are how small archives claim to hold much.</summary>
    private void CheckOverlaps(List<Record> records, Dictionary<string, ZipEntry> entries, long directoryStart)
    {
        long next = 0;
        foreach (Record record in records.OrderBy(record => record.HeaderOffset))
        {
            ZipEntry entry = entries[record.Name];
            if (record.HeaderOffset < next || entry.Offset + entry.Length > directoryStart)
            {
                throw Refused($"the entry {record.Name.Quoted()} overlaps another or the directory");
            }

            next = entry.Offset + entry.Length;
        }
    }

    private void CheckSums(List<Record> records, Dictionary<string, ZipEntry> entries)
    {
        string?[] wrong = new string?[records.Count];
        if (_file.ByteLength >= ParallelFrom)
        {
            Parallel.For(0, records.Count, Check);
        }
        else
        {
            for (int i = 0; i < records.Count; i++)
            {
                Check(i);
            }
        }

        if (wrong.FirstOrDefault(name => name is not null) is { } first)
        {
            throw Refused($"the entry {first.Quoted()} is damaged: its CRC-32 is wrong");
        }

        void Check(int i)
        {
            ZipEntry entry = entries[records[i].Name];
            if (Checksum(entry) != records[i].Crc)
            {
                wrong[i] = entry.Name;
            }
        }
    }

    private uint Checksum(ZipEntry entry)
    {
        const int Step = 1 << 24;
        Crc32 crc = new();
        for (long done = 0; done < entry.Length; done += Step)
        {
            crc.Append(_file.Span(entry.Offset + done, (int)Math.Min(Step, entry.Length - done)));
        }

        return crc.GetCurrentHashAsUInt32();
    }

    /// <summary>The content of the zip64 extra field; empty where there is none.</summary>
    private static ReadOnlySpan<byte> Zip64(ReadOnlySpan<byte> extra)
    {
        while (extra.Length >= 4)
        {
            int length = U16(extra, 2);
            if (length > extra.Length - 4)
            {
                break;
            }

            if (U16(extra, 0) == Zip64Tag)
            {
                return extra.Slice(4, length);
            }

            extra = extra[(4 + length)..];
        }

        return [];
    }

    /// <summary>The 64-bit field in place of a 32-bit one that is all ones; those that are not are left out of the extra field.</summary>
    private long Widened(string name, long value, ref ReadOnlySpan<byte> wide)
    {
        if (value != Wide32)
        {
            return value;
        }

        if (wide.Length < 8 || I64(wide, 0) < 0)
        {
            throw Refused($"the entry {name.Quoted()} lacks a 64-bit length or place");
        }

        value = I64(wide, 0);
        wide = wide[8..];
        return value;
    }

    private string Name(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return StrictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException e)
        {
            throw Refused("the name of an entry is not UTF-8", e);
        }
    }

    private CheckpointException Refused(string problem, Exception? inner = null) =>
        new(_file.Path, problem, "Download the file again", inner);

    private static ushort U16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static long I64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);
}
