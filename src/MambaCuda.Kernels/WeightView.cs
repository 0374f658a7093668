namespace MambaCuda.Kernels;

/// <summary>A weight as activations are multiplied with it, (outputs, inputs): a matrix of floats, or a quantized one.</summary>
public readonly struct WeightView
{
    /// <summary>A matrix of floats.</summary>
    public WeightView(MatrixView matrix) => Matrix = matrix;

    /// <summary>A quantized weight.</summary>
    public WeightView(QuantizedView quantized) => Quantized = quantized;

    /// <summary>The matrix of floats; none where the weight is quantized.</summary>
    public MatrixView Matrix { get; }

    /// <summary>The quantized weight; none where it is a matrix of floats.</summary>
    public QuantizedView Quantized { get; }

    /// <summary>What its elements lie in: floats, or the numbers of a quantized weight.</summary>
    internal MatrixView Stored => IsQuantized ? Quantized.Values : Matrix;

    /// <summary>Whether it is quantized.</summary>
    public bool IsQuantized => !Quantized.IsNone;

    /// <summary>Whether there is none.</summary>
    public bool IsNone => Matrix.IsNone && Quantized.IsNone;

    /// <summary>The outputs.</summary>
    public long Rows => IsQuantized ? Quantized.Rows : Matrix.Rows;

    /// <summary>The inputs.</summary>
    public int Columns => IsQuantized ? Quantized.Columns : Matrix.Columns;

    /// <summary>The bytes of its elements, scales included.</summary>
    public long ByteLength => Matrix.ByteLength + Quantized.Values.ByteLength + Quantized.Scales.ByteLength;

    /// <summary>A matrix of floats.</summary>
    public static implicit operator WeightView(MatrixView matrix) => new(matrix);

    /// <summary>A quantized weight.</summary>
    public static implicit operator WeightView(QuantizedView quantized) => new(quantized);

    /// <summary>Shape and type, for messages.</summary>
    public override string ToString() => IsQuantized ? Quantized.ToString() : Matrix.ToString();
}
