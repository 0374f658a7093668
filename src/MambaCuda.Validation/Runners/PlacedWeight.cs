using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>A weight on a backend, floats or quantized, guard words around it.</summary>
public sealed class PlacedWeight : IDisposable
{
    // Rows of a quantized weight start at multiples of 16 bytes, wherever those of x do.
    private const int QuantizedGap = 2 * GuardedMatrix.AlignedGap;

    private readonly string _name;
    private readonly GuardedMatrix _stored;
    private readonly GuardedMatrix? _scales;

    /// <summary>Places one.</summary>
    /// <param name="backend">Where.</param>
    /// <param name="name">What it is, for messages.</param>
    /// <param name="type">The type of floats.</param>
    /// <param name="rows">The outputs.</param>
    /// <param name="columns">The inputs.</param>
    /// <param name="floats">The floats, where it is not quantized.</param>
    /// <param name="quantized">The weight, where it is; or null.</param>
    /// <param name="gap">The gap between rows of floats, or of scales; without one, those of numbers lie one after the other too.</param>
    public PlacedWeight(
        Backend backend, string name, DataType type, int rows, int columns, float[] floats, QuantizedWeight? quantized, int gap)
    {
        _name = name;
        if (quantized is null)
        {
            _stored = GuardedMatrix.Input(backend, type, rows, columns, floats, gap);
            View = _stored.View;
            return;
        }

        QuantizedLayout layout = quantized.Layout;
        float[] numbers = StoredValues.Decode(quantized.Bytes(), layout.StoredType);
        _stored = GuardedMatrix.Input(backend, layout.StoredType, rows, layout.RowBytes, numbers, gap == 0 ? 0 : QuantizedGap);
        _scales = GuardedMatrix.Input(backend, DataType.BFloat16, rows, layout.Groups, quantized.Scales, gap);
        View = new QuantizedView(_stored.View, _scales.View, layout);
    }

    /// <summary>What an operation takes.</summary>
    public WeightView View { get; }

    /// <summary>Fails where it was written.</summary>
    /// <exception cref="GuardException">It was.</exception>
    public void AssertUnchanged()
    {
        _stored.AssertUnchanged(_name);
        _scales?.AssertUnchanged($"scales of {_name}");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stored.Dispose();
        _scales?.Dispose();
    }
}
