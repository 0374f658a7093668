using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace MambaCuda.Driver;

/// <summary>The SHA-256 of everything that can change what comes out of the compiler.</summary>
internal static class CacheKey
{
    // To be raised when the form of an entry changes, or what goes into the key.
    private const string Form = "MambaCuda kernel 1";

    public static byte[] Of(string compiler, KernelProgram program, GpuArchitecture architecture, IReadOnlyList<string> options)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(hash, [Form, compiler, architecture.ToString(), program.Name, program.Source]);
        Append(hash, options);
        Append(hash, program.NameExpressions);
        IEnumerable<KeyValuePair<string, string>> headers = program.Headers.OrderBy(header => header.Key, StringComparer.Ordinal);
        Append(hash, [.. headers.SelectMany(header => new[] { header.Key, header.Value })]);
        return hash.GetHashAndReset();
    }

    // Each list with its count and each text with its length, so that no two sets of inputs run together into the same bytes.
    private static void Append(IncrementalHash hash, IReadOnlyList<string> texts)
    {
        Append(hash, texts.Count);
        foreach (string text in texts)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            Append(hash, bytes.Length);
            hash.AppendData(bytes);
        }
    }

    private static void Append(IncrementalHash hash, int number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, number);
        hash.AppendData(bytes);
    }
}
