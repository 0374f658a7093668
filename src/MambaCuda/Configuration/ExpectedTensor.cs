using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>A tensor that a model of some configuration has: its name in the Hugging Face layout, and its shape.</summary>
public sealed class ExpectedTensor
{
    private readonly long[] _shape;

    internal ExpectedTensor(string name, params long[] shape)
        : this(name, null, shape)
    {
    }

    internal ExpectedTensor(string name, DataType? type, long[] shape)
    {
        Type = type;
        Name = name;
        _shape = shape;
    }

    /// <summary>The name in the Hugging Face layout.</summary>
    public string Name { get; }

    /// <summary>The sizes, outermost first.</summary>
    public ReadOnlySpan<long> Shape => _shape;

    /// <summary>The only type that it can have, as the parts of a quantized weight do; null where any type of weights will do.</summary>
    public DataType? Type { get; }

    /// <summary>The number of elements.</summary>
    public long ElementCount => _shape.Aggregate(1L, (product, size) => checked(product * size));

    /// <summary>Name and shape, for messages.</summary>
    public override string ToString() => $"{Name.Quoted()} {StoredTensor.ShapeText(Shape)}";

    /// <summary>Whether it can have that type.</summary>
    internal bool Takes(DataType type) => Type is { } only ? type == only : type.IsWeightType();

    /// <summary>Throws where an expected tensor is missing or has another shape or type.</summary>
    /// <exception cref="ArgumentException">One is; the message names it.</exception>
    internal static void CheckAll(IEnumerable<ExpectedTensor> all, IReadOnlyDictionary<string, StoredTensor> tensors)
    {
        foreach (ExpectedTensor expected in all)
        {
            if (!tensors.TryGetValue(expected.Name, out StoredTensor? tensor) || !tensor.Shape.SequenceEqual(expected.Shape)
                || !expected.Takes(tensor.Type))
            {
                throw new ArgumentException($"The model needs {expected}, but got {tensor?.ToString() ?? "nothing"}.", nameof(tensors));
            }
        }
    }
}
