namespace MambaCuda.Kernels;

/// <summary>How the weights are stored that kernels for few rows take: as floats of a type, or in so many bits.</summary>
/// <param name="Bits">Of a quantized weight, 8 or 4; 0 of floats.</param>
/// <param name="Floats">The type of floats.</param>
internal readonly record struct WeightFormat(int Bits, DataType Floats)
{
    /// <summary>Whether they are quantized.</summary>
    public bool IsQuantized => Bits != 0;

    /// <summary>The name in kernels.</summary>
    public string Name => IsQuantized ? $"mamba::Quantized<{Bits}>" : CudaBackend.TypeName(Floats);

    /// <summary>What tells a quantized one in an instance's name.</summary>
    public string Suffix => IsQuantized ? $" int{Bits}" : "";

    /// <summary>
    /// Those that meet few activations of a type in kernels of their own: floats of the same type, and numbers beside bfloat16, since those
    /// kernels make activations fixed-point numbers, which finer types would show.
    /// </summary>
    public static IEnumerable<WeightFormat> OfFew(DataType activation) => activation == DataType.BFloat16
        ? [new(0, activation), new(8, default), new(4, default)]
        : [new(0, activation)];

    /// <summary>That of a weight.</summary>
    public static WeightFormat Of(in WeightView weight) =>
        weight.IsQuantized ? new(weight.Quantized.Layout.Type == QuantizedType.Int8 ? 8 : 4, default) : new(0, weight.Matrix.Type);

    /// <summary>The bytes of so many neighbours.</summary>
    public int BytesOf(int weights) => IsQuantized ? weights * Bits / 8 : weights * Floats.Size();
}
