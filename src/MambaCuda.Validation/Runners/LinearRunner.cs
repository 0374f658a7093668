using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The operands of a linear layer on a backend, guard words around each.</summary>
public sealed class PlacedLinear : IDisposable
{
    private readonly GuardedMatrix _x;
    private readonly PlacedWeight _weight;
    private readonly GuardedMatrix? _bias;
    private readonly GuardedMatrix _y;

    /// <summary>Places them.</summary>
    public PlacedLinear(Backend backend, LinearInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        int rows = inputs.RowCount, outputs = inputs.Outputs;
        _x = GuardedMatrix.Input(backend, backend.ActivationType, rows, inputs.Inputs, inputs.X, gap);
        _weight = new PlacedWeight(backend, "weight", inputs.WeightType, outputs, inputs.Inputs, inputs.Weight, inputs.Quantized, gap);
        _bias = inputs.Bias is null ? null : GuardedMatrix.Input(backend, DataType.Float32, 1, outputs, inputs.Bias, gap);
        _y = GuardedMatrix.Output(backend, inputs.ResultType, rows, outputs, gap: gap);
    }

    /// <summary>What the operation takes.</summary>
    public LinearForwardArgs Args => new()
    {
        X = _x.View,
        Weight = _weight.View,
        Bias = _bias?.View ?? default,
        Y = _y.View,
    };

    /// <summary>The result; fails where anything else changed.</summary>
    /// <exception cref="GuardException">Something else changed.</exception>
    public float[] Result()
    {
        _x.AssertUnchanged("x");
        _weight.AssertUnchanged();
        _bias?.AssertUnchanged("bias");
        _y.AssertGuardsIntact("y");
        return _y.Values();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _x.Dispose();
        _weight.Dispose();
        _bias?.Dispose();
        _y.Dispose();
    }
}

/// <summary>Runs linear layers on a backend.</summary>
public static class LinearRunner
{
    /// <summary>Runs one; with a variant, which <see cref="Variants"/> must have listed, in that way.</summary>
    public static float[] Run(Backend backend, LinearInputs inputs, int gap = GuardedMatrix.UsualGap, LinearVariant? variant = null)
    {
        using PlacedLinear placed = new(backend, inputs, gap);
        if (variant is { } chosen)
        {
            ((CudaBackend)backend).LinearForward(placed.Args, chosen);
        }
        else
        {
            backend.LinearForward(placed.Args);
        }

        return placed.Result();
    }

    /// <summary>The ways in which a backend can compute a layer; none where it has no choice.</summary>
    public static IReadOnlyList<LinearVariant> Variants(Backend backend, LinearInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        if (backend is not CudaBackend cuda)
        {
            return [];
        }

        using PlacedLinear placed = new(backend, inputs, gap);
        return cuda.LinearVariants(placed.Args);
    }

    /// <summary>
    /// The type that the weights of a quantized layer are rounded to before they are multiplied; null where they are not, and for others.
    /// </summary>
    public static DataType? RoundedWeights(
        Backend backend, LinearInputs inputs, int gap = GuardedMatrix.UsualGap, LinearVariant? variant = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(inputs);
        if (inputs.Quantized is null || backend.Name == "cpu")
        {
            return null;
        }

        bool fromNumbers = variant is { } chosen
            ? chosen.Algorithm != LinearAlgorithm.Dequantized
            : Variants(backend, inputs, gap).Any(each => each.Algorithm != LinearAlgorithm.Dequantized);
        return fromNumbers ? null : backend.ActivationType;
    }
}
