using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>A tensor as it lies in host memory or in a mapped file: row-major, without gaps, little-endian.</summary>
public sealed class StoredTensor
{
    private readonly long[] _shape;

    /// <summary>Describes a part of host memory as a tensor.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="type">The type of its elements.</param>
    /// <param name="shape">Its sizes, outermost first; empty for a scalar.</param>
    /// <param name="memory">Where it lies; must outlive the tensor, which does not own it.</param>
    /// <param name="byteOffset">Its first byte. Files need not align it to the size of an element.</param>
    /// <exception cref="ArgumentException">A size is negative, or the tensor does not lie inside the memory.</exception>
    public StoredTensor(string name, DataType type, ReadOnlySpan<long> shape, HostMemory memory, long byteOffset = 0)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(memory);
        if (!TryByteLength(type, shape, out long byteLength))
        {
            throw new ArgumentException($"{name.Quoted()} cannot have the shape {ShapeText(shape)}.", nameof(shape));
        }

        memory.CheckRange(byteOffset, byteLength);
        Name = name;
        Type = type;
        _shape = shape.ToArray();
        Memory = memory;
        ByteOffset = byteOffset;
        ByteLength = byteLength;
    }

    /// <summary>The name.</summary>
    public string Name { get; }

    /// <summary>The type of the elements.</summary>
    public DataType Type { get; }

    /// <summary>The sizes, outermost first; empty for a scalar.</summary>
    public ReadOnlySpan<long> Shape => _shape;

    /// <summary>The number of elements.</summary>
    public long ElementCount => ByteLength / Type.Size();

    /// <summary>The memory that it is a part of.</summary>
    public HostMemory Memory { get; }

    /// <summary>The first byte in <see cref="Memory"/>.</summary>
    public long ByteOffset { get; }

    /// <summary>The number of bytes.</summary>
    public long ByteLength { get; }

    /// <summary>Name, type and shape, for messages.</summary>
    public override string ToString() => $"{Name.Quoted()} {Type} {ShapeText(Shape)}";

    /// <summary>The same bytes under another name.</summary>
    internal StoredTensor Renamed(string name) => new(name, Type, _shape, Memory, ByteOffset);

    /// <summary>Whether both hold the same bytes, which are only compared where they do not lie at the same place.</summary>
    internal bool HasSameBytesAs(StoredTensor other)
    {
        if (ByteLength != other.ByteLength)
        {
            return false;
        }

        if (Memory == other.Memory && ByteOffset == other.ByteOffset)
        {
            return true;
        }

        const int Step = 1 << 26;
        for (long done = 0; done < ByteLength; done += Step)
        {
            int count = (int)Math.Min(Step, ByteLength - done);
            if (!Memory.Span(ByteOffset + done, count).SequenceEqual(other.Memory.Span(other.ByteOffset + done, count)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The number of bytes of a tensor; false where a size is negative or the number passes 2^63.</summary>
    internal static bool TryByteLength(DataType type, ReadOnlySpan<long> shape, out long byteLength)
    {
        // A size of zero makes the product zero, but must not hide an overflow before or after it: what overflows is refused.
        Int128 product = type.Size();
        bool empty = false;
        byteLength = 0;
        foreach (long size in shape)
        {
            if (size < 0)
            {
                return false;
            }

            empty |= size == 0;
            product *= Math.Max(size, 1);
            if (product > long.MaxValue)
            {
                return false;
            }
        }

        byteLength = empty ? 0 : (long)product;
        return true;
    }

    internal static string ShapeText(ReadOnlySpan<long> shape) => $"[{string.Join(", ", shape.ToArray())}]";
}
