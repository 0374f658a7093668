namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.LinearForward"/>.</summary>
public readonly struct LinearForwardArgs
{
    /// <summary>Input, (rows, inputs), activation type.</summary>
    public MatrixView X { get; init; }

    /// <summary>Weight as checkpoints store it, (outputs, inputs): of any weight type, or quantized.</summary>
    public WeightView Weight { get; init; }

    /// <summary>Bias, (1, outputs), Float32; or none.</summary>
    public MatrixView Bias { get; init; }

    /// <summary>Result, (rows, outputs), activation type or Float32.</summary>
    public MatrixView Y { get; init; }

    /// <summary>
    /// The operation just before this one did not write the weight: reading it may begin while that one ends. The result is the same.
    /// </summary>
    public bool WeightIsAtRest { get; init; }

    /// <summary>One product.</summary>
    internal OperationWork Work => new(OperationWork.Of(X, Bias, Y).Bytes + Weight.ByteLength)
    {
        Products = 2.0 * X.Rows * X.Columns * Weight.Rows,
        Arithmetic = Bias.IsNone ? 0 : (double)Y.Rows * Y.Columns,
    };
}

public abstract partial class Backend
{
    /// <summary>y = x W^T + bias, accumulated in float32.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    public void LinearForward(in LinearForwardArgs args)
    {
        const string Operation = nameof(LinearForward);
        Check.Given(Operation, "x", args.X);
        Check.Weight(Operation, "weight", args.Weight, args.Weight.Rows, args.X.Columns);
        Check.Given(Operation, "y", args.Y);
        Check.Shape(Operation, "bias", args.Bias, 1, args.Weight.Rows);
        Check.Shape(Operation, "y", args.Y, args.X.Rows, args.Weight.Rows);
        Check.Type(Operation, "x", args.X, ActivationType);
        Check.Type(Operation, "bias", args.Bias, DataType.Float32);
        if (args.Y.Type != DataType.Float32)
        {
            Check.Type(Operation, "y", args.Y, ActivationType);
        }

        Trace?.BeginOperation(Operation, args.Work);
        LinearForwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void LinearForwardCore(in LinearForwardArgs args);
}
