using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace MambaCuda;

/// <summary>
/// The bytes of one sequence's state, little-endian:
/// magic "MCSTATE\0", int32 version, 32 bytes fingerprint of the model, int64 token count, int32 number of pending tokens, int32 number of
/// values, the pending token ids (int32), the values (float32: for each layer the convolution's rows, then the scan's), SHA-256 of all that
/// stands before.
/// </summary>
internal static class StateSnapshot
{
    public const int FingerprintLength = 32;
    private const int Version = 1;
    private const int MaxPending = 1 << 20;
    private const int HeaderLength = 8 + 4 + FingerprintLength + 8 + 4 + 4;

    private static ReadOnlySpan<byte> Magic => "MCSTATE\0"u8;

    public static long MaximumLength(long valueBytes) =>
        HeaderLength + ((long)MaxPending * sizeof(int)) + valueBytes + SHA256.HashSizeInBytes;

    public static byte[] Write(ReadOnlySpan<byte> fingerprint, long tokenCount, ReadOnlySpan<int> pending, ReadOnlySpan<float> values)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(pending.Length, MaxPending);
        int bodyLength = checked(HeaderLength + ((pending.Length + values.Length) * sizeof(int)));
        byte[] bytes = new byte[bodyLength + SHA256.HashSizeInBytes];
        Span<byte> rest = bytes;
        Magic.CopyTo(rest);
        BinaryPrimitives.WriteInt32LittleEndian(rest[8..], Version);
        fingerprint.CopyTo(rest[12..]);
        rest = rest[(12 + FingerprintLength)..];
        BinaryPrimitives.WriteInt64LittleEndian(rest, tokenCount);
        BinaryPrimitives.WriteInt32LittleEndian(rest[8..], pending.Length);
        BinaryPrimitives.WriteInt32LittleEndian(rest[12..], values.Length);
        rest = rest[16..];
        MemoryMarshal.AsBytes(pending).CopyTo(rest);
        MemoryMarshal.AsBytes(values).CopyTo(rest[(pending.Length * sizeof(int))..]);
        SHA256.HashData(bytes.AsSpan(0, bodyLength), bytes.AsSpan(bodyLength));
        return bytes;
    }

    /// <exception cref="StateException">The bytes are not a state of this model.</exception>
    public static (long TokenCount, int[] Pending) Read(
        ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> fingerprint, int vocabularySize, Span<float> values)
    {
        if (bytes.Length < HeaderLength + SHA256.HashSizeInBytes || !bytes.StartsWith(Magic))
        {
            throw new StateException("this is not a saved state.");
        }

        int version = BinaryPrimitives.ReadInt32LittleEndian(bytes[8..]);
        if (version != Version)
        {
            throw new StateException(
                $"the state has format version {version}, but this program reads version {Version}; run the prompt again.");
        }

        ReadOnlySpan<byte> body = bytes[..^SHA256.HashSizeInBytes];
        Span<byte> checksum = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(body, checksum);
        if (!checksum.SequenceEqual(bytes[^SHA256.HashSizeInBytes..]))
        {
            throw new StateException("the state is damaged or cut short: its checksum does not match; run the prompt again.");
        }

        if (!body.Slice(12, FingerprintLength).SequenceEqual(fingerprint))
        {
            throw new StateException("the state was saved by another model; load it with the model that made it.");
        }

        ReadOnlySpan<byte> rest = body[(12 + FingerprintLength)..];
        long tokenCount = BinaryPrimitives.ReadInt64LittleEndian(rest);
        int pendingCount = BinaryPrimitives.ReadInt32LittleEndian(rest[8..]);
        int valueCount = BinaryPrimitives.ReadInt32LittleEndian(rest[12..]);
        rest = rest[16..];
        if (tokenCount < 0 || pendingCount is < 0 or > MaxPending || valueCount != values.Length
            || rest.Length != ((long)pendingCount + valueCount) * sizeof(int))
        {
            throw new StateException("the state's lengths do not fit this model.");
        }

        int[] pending = MemoryMarshal.Cast<byte, int>(rest[..(pendingCount * sizeof(int))]).ToArray();
        foreach (int id in pending)
        {
            if (id < 0 || id >= vocabularySize)
            {
                throw new StateException($"the state names token {id}, which is not in the vocabulary of {vocabularySize}.");
            }
        }

        MemoryMarshal.Cast<byte, float>(rest[(pendingCount * sizeof(int))..]).CopyTo(values);
        return (tokenCount, pending);
    }
}
