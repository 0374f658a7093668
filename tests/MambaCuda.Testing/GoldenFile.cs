using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace MambaCuda.Testing;

/// <summary>
/// A plain reader of safetensors for golden data: trusts its input, copies everything, and shares no code with the library's own reader.
/// </summary>
public sealed class GoldenFile
{
    private readonly byte[] _bytes;
    private readonly Dictionary<string, (string Type, long[] Shape, int Start, int End)> _tensors = [];

    /// <summary>Reads a file.</summary>
    public GoldenFile(string path)
    {
        _bytes = File.ReadAllBytes(path);
        int header = checked((int)BinaryPrimitives.ReadUInt64LittleEndian(_bytes));
        using JsonDocument document = JsonDocument.Parse(_bytes.AsMemory(8, header));
        foreach (JsonProperty tensor in document.RootElement.EnumerateObject().Where(property => property.Name != "__metadata__"))
        {
            int[] offsets = [.. tensor.Value.GetProperty("data_offsets").EnumerateArray().Select(offset => offset.GetInt32())];
            long[] shape = [.. tensor.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())];
            string type = tensor.Value.GetProperty("dtype").GetString()!;
            _tensors[tensor.Name] = (type, shape, 8 + header + offsets[0], 8 + header + offsets[1]);
        }
    }

    /// <summary>All names.</summary>
    public IReadOnlyCollection<string> Names => _tensors.Keys;

    /// <summary>Whether there is such a tensor.</summary>
    public bool Has(string name) => _tensors.ContainsKey(name);

    /// <summary>A tensor's shape.</summary>
    public long[] Shape(string name) => _tensors[name].Shape;

    /// <summary>A tensor's values as float32, from F32 or BF16.</summary>
    public float[] Floats(string name)
    {
        (string type, _, int start, int end) = _tensors[name];
        ReadOnlySpan<byte> bytes = _bytes.AsSpan(start, end - start);
        if (type == "F32")
        {
            return MemoryMarshal.Cast<byte, float>(bytes).ToArray();
        }

        Assert(type == "BF16", name, type);
        return [.. MemoryMarshal.Cast<byte, ushort>(bytes).ToArray().Select(bits => BitConverter.UInt32BitsToSingle((uint)bits << 16))];
    }

    /// <summary>A tensor's values as int32, from I64 or I32.</summary>
    public int[] Integers(string name)
    {
        (string type, _, int start, int end) = _tensors[name];
        ReadOnlySpan<byte> bytes = _bytes.AsSpan(start, end - start);
        if (type == "I32")
        {
            return MemoryMarshal.Cast<byte, int>(bytes).ToArray();
        }

        Assert(type == "I64", name, type);
        return [.. MemoryMarshal.Cast<byte, long>(bytes).ToArray().Select(value => checked((int)value))];
    }

    private static void Assert(bool condition, string name, string type)
    {
        if (!condition)
        {
            throw new NotSupportedException($"{name} is {type}.");
        }
    }
}
