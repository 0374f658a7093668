using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace MambaCuda;

/// <summary>
/// A cached prompt as a file, little-endian: magic "MCPRMPT\0", int32 version, int32 number of tokens, int32 number of logits, the tokens
/// (int32), the logits (float32), SHA-256 of all that stands before, then the state (see <see cref="StateSnapshot"/>, which has a checksum and
/// the model's fingerprint of its own).
/// </summary>
internal static class PromptFile
{
    private const int Version = 1;
    private const int HeaderLength = 8 + 4 + 4 + 4;

    private static ReadOnlySpan<byte> Magic => "MCPRMPT\0"u8;

    public static void Write(string path, CachedPrompt prompt)
    {
        byte[] head = new byte[HeaderLength + ((prompt.Tokens.Length + prompt.Logits.Length) * sizeof(int)) + SHA256.HashSizeInBytes];
        Magic.CopyTo(head);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(8), Version);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(12), prompt.Tokens.Length);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(16), prompt.Logits.Length);
        MemoryMarshal.AsBytes(prompt.Tokens.AsSpan()).CopyTo(head.AsSpan(HeaderLength));
        MemoryMarshal.AsBytes(prompt.Logits.AsSpan()).CopyTo(head.AsSpan(HeaderLength + (prompt.Tokens.Length * sizeof(int))));
        SHA256.HashData(head.AsSpan(..^SHA256.HashSizeInBytes), head.AsSpan(^SHA256.HashSizeInBytes));
        WholeFile.Write(path, head, prompt.State.Snapshot());
    }

    /// <summary>The tokens of a file, or null where it is damaged, of another version or of another vocabulary.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static int[]? ReadTokens(string path, int vocabularySize)
    {
        using FileStream file = File.OpenRead(path);
        return ReadHead(file, vocabularySize)?.Tokens;
    }

    /// <summary>The whole prompt, its state put into a slot; or null where the file is damaged or of another model.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static (int[] Tokens, float[] Logits)? Read(string path, MambaState state)
    {
        using FileStream file = File.OpenRead(path);
        if (ReadHead(file, state.Model.Config.VocabularySize) is not { } head || file.Length - file.Position > StateSnapshot.MaximumLength(state.BytesPerSlot))
        {
            return null;
        }

        byte[] snapshot = new byte[file.Length - file.Position];
        file.ReadExactly(snapshot);
        try
        {
            state.Restore(snapshot);
            return head;
        }
        catch (StateException)
        {
            return null;
        }
    }

    private static (int[] Tokens, float[] Logits)? ReadHead(FileStream file, int vocabularySize)
    {
        byte[] start = new byte[HeaderLength];
        if (file.ReadAtLeast(start, HeaderLength, throwOnEndOfStream: false) < HeaderLength || !start.AsSpan().StartsWith(Magic)
            || BinaryPrimitives.ReadInt32LittleEndian(start.AsSpan(8)) != Version)
        {
            return null;
        }

        int tokenCount = BinaryPrimitives.ReadInt32LittleEndian(start.AsSpan(12));
        int logitCount = BinaryPrimitives.ReadInt32LittleEndian(start.AsSpan(16));
        if (tokenCount < 1 || logitCount != vocabularySize
            || file.Length - HeaderLength < (((long)tokenCount + logitCount) * sizeof(int)) + SHA256.HashSizeInBytes)
        {
            return null;
        }

        int[] tokens = new int[tokenCount];
        float[] logits = new float[logitCount];
        byte[] written = new byte[SHA256.HashSizeInBytes];
        file.ReadExactly(MemoryMarshal.AsBytes(tokens.AsSpan()));
        file.ReadExactly(MemoryMarshal.AsBytes(logits.AsSpan()));
        file.ReadExactly(written);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(start);
        hash.AppendData(MemoryMarshal.AsBytes(tokens.AsSpan()));
        hash.AppendData(MemoryMarshal.AsBytes(logits.AsSpan()));
        return hash.GetHashAndReset().AsSpan().SequenceEqual(written) ? (tokens, logits) : null;
    }
}
