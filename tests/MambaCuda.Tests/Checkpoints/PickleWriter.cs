using System.Buffers.Binary;
using System.Text;

namespace MambaCuda.Tests;

/// <summary>Writes pickles instruction by instruction, right ones and wrong ones.</summary>
internal sealed class PickleWriter
{
    private readonly List<byte> _bytes = [0x80, 2];

    public PickleWriter Raw(params ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public PickleWriter Global(string module, string name) => Raw((byte)'c').Raw(Encoding.UTF8.GetBytes($"{module}\n{name}\n"));

    public PickleWriter Text(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        byte[] length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, utf8.Length);
        return Raw((byte)'X').Raw(length).Raw(utf8);
    }

    public PickleWriter Integer(long value)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        return Raw(0x8a, 8).Raw(bytes);
    }

    public PickleWriter Integers(long[] values)
    {
        Raw((byte)'(');
        Array.ForEach(values, value => Integer(value));
        return Raw((byte)'t');
    }

    /// <summary>An empty OrderedDict.</summary>
    public PickleWriter OrderedDictionary() => Global("collections", "OrderedDict").Raw(")R"u8);

    /// <summary>A storage by persistent id.</summary>
    public PickleWriter Storage(string key, string type, long count) =>
        Raw((byte)'(').Text("storage").Global("torch", type).Text(key).Text("cpu").Integer(count).Raw("tQ"u8);

    /// <summary>A view of a storage.</summary>
    public PickleWriter Tensor(string key, string type, long count, long offset, long[] shape, long[] strides) =>
        Global("torch._utils", "_rebuild_tensor_v2").Raw((byte)'(').Storage(key, type, count)
            .Integer(offset).Integers(shape).Integers(strides)
            .Raw(0x89).OrderedDictionary().Raw("tR"u8);

    /// <summary>A dictionary of one tensor named "a".</summary>
    public static byte[] StateDictionary(string key, string type, long count, long offset, long[] shape, long[] strides) =>
        new PickleWriter().OrderedDictionary().Raw((byte)'(').Text("a").Tensor(key, type, count, offset, shape, strides)
            .Raw("u."u8).ToBytes();

    public byte[] ToBytes() => [.. _bytes];
}
