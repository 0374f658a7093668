namespace MambaCuda;

/// <summary>A tensor that a model of some configuration has: its name in the Hugging Face layout, and its shape.</summary>
public sealed class ExpectedTensor
{
    private readonly long[] _shape;

    internal ExpectedTensor(string name, params long[] shape)
    {
        Name = name;
        _shape = shape;
    }

    /// <summary>The name in the Hugging Face layout.</summary>
    public string Name { get; }

    /// <summary>The sizes, outermost first.</summary>
    public ReadOnlySpan<long> Shape => _shape;

    /// <summary>The number of elements.</summary>
    public long ElementCount => _shape.Aggregate(1L, (product, size) => checked(product * size));

    /// <summary>Name and shape, for messages.</summary>
    public override string ToString() => $"{Name.Quoted()} {StoredTensor.ShapeText(Shape)}";

    /// <summary>Throws where an expected tensor is missing or has another shape.</summary>
    /// <exception cref="ArgumentException">One is; the message names it.</exception>
    internal static void CheckAll(IEnumerable<ExpectedTensor> all, IReadOnlyDictionary<string, StoredTensor> tensors)
    {
        foreach (ExpectedTensor expected in all)
        {
            if (!tensors.TryGetValue(expected.Name, out StoredTensor? tensor) || !tensor.Shape.SequenceEqual(expected.Shape))
            {
                throw new ArgumentException($"The model needs {expected}, but got {tensor?.ToString() ?? "nothing"}.", nameof(tensors));
            }
        }
    }
}
