namespace MambaCuda.Driver;

/// <summary>
/// A product as linear layers have it: y[r, o] is the scalar product of row r of x and row o of the weight. All three are stored by rows,
/// the first two perhaps transposed, as the gradients of a layer need them; strides are from stored row to stored row, in elements.
/// </summary>
/// <param name="Rows">Rows of x and y.</param>
/// <param name="Inputs">Columns of x and of the weight.</param>
/// <param name="Outputs">Rows of the weight, columns of y.</param>
public readonly record struct RowProduct(long Rows, long Inputs, long Outputs)
{
    /// <summary>The type of x and the weight.</summary>
    public MatrixElement Operands { get; init; }

    /// <summary>The type of y: that of the operands, or Float32.</summary>
    public MatrixElement Result { get; init; }

    /// <summary>Whether x is stored as (inputs, rows).</summary>
    public bool XIsTransposed { get; init; }

    /// <summary>Whether the weight is stored as (inputs, outputs).</summary>
    public bool WeightIsTransposed { get; init; }

    /// <summary>Whether the product is added to what y holds.</summary>
    public bool Accumulate { get; init; }

    /// <summary>x's stride.</summary>
    public long XStride { get; init; }

    /// <summary>The weight's stride.</summary>
    public long WeightStride { get; init; }

    /// <summary>y's stride.</summary>
    public long YStride { get; init; }

    /// <summary>What the addresses of x, the weight and y are multiples of, in bytes, at least.</summary>
    public int Alignment { get; init; }

    /// <inheritdoc/>
    public override string ToString()
    {
        string transposed = (XIsTransposed ? ", x transposed" : "") + (WeightIsTransposed ? ", weight transposed" : "");
        return $"{Rows} x {Inputs} x {Outputs} {Operands}{transposed} {(Accumulate ? "added to" : "to")} {Result}";
    }
}
