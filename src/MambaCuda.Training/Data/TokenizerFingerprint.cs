using System.Buffers.Binary;
using System.Security.Cryptography;

namespace MambaCuda.Training;

/// <summary>
/// What the ids of a tokenizer mean, as 32 bytes: SHA-256 over the vocabulary's size and, for every id, whether it is special and its
/// bytes. Two tokenizers with the same fingerprint name the same tokens by the same ids.
/// </summary>
public static class TokenizerFingerprint
{
    /// <summary>The bytes of a fingerprint.</summary>
    public const int Length = SHA256.HashSizeInBytes;

    /// <summary>The fingerprint of a tokenizer.</summary>
    public static byte[] Of(Tokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> number = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(number, tokenizer.VocabularySize);
        hash.AppendData(number);
        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            ReadOnlySpan<byte> bytes = tokenizer.TokenBytes(id);
            BinaryPrimitives.WriteInt32LittleEndian(number, tokenizer.IsSpecial(id) ? ~bytes.Length : bytes.Length);
            hash.AppendData(number);
            hash.AppendData(bytes);
        }

        return hash.GetHashAndReset();
    }
}
