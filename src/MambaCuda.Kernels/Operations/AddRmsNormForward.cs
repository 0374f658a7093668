namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.AddRmsNormForward"/>.</summary>
public readonly struct AddRmsNormForwardArgs
{
    /// <summary>
    /// What the previous block adds to the residual stream, (tokens, channels), activation type; or none before the first block.
    /// </summary>
    public MatrixView X { get; init; }

    /// <summary>The residual stream, (tokens, channels), Float32; X is added to it in place unless there is a ResidualOut.</summary>
    public MatrixView Residual { get; init; }

    /// <summary>
    /// Where to put the sum of Residual and X, (tokens, channels), Float32, so that Residual stays as it is; may be the same view as
    /// Residual, which is what none means. Without X it gets a copy of Residual.
    /// </summary>
    public MatrixView ResidualOut { get; init; }

    /// <summary>The norm's weight, (1, channels), Float32.</summary>
    public MatrixView Weight { get; init; }

    /// <summary>What is added to the mean square; 1e-5 in the published models.</summary>
    public float Epsilon { get; init; }

    /// <summary>The normalised residual, (tokens, channels), activation type.</summary>
    public MatrixView Y { get; init; }

    /// <summary>The residual stream is read, and written unless it stays what it is.</summary>
    internal OperationWork Work => OperationWork.Of(
        X, Residual, ResidualOut.IsNone && !X.IsNone ? Residual : ResidualOut, Weight, Y) with
    {
        Arithmetic = 5.0 * Residual.Rows * Residual.Columns,
        Special = 2.0 * Residual.Rows,
    };
}

public abstract partial class Backend
{
    /// <summary>residualOut = residual + x; y = residualOut / sqrt(mean(residualOut^2) + epsilon) * weight, row by row.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    public void AddRmsNormForward(in AddRmsNormForwardArgs args)
    {
        const string Operation = nameof(AddRmsNormForward);
        Check.Given(Operation, "residual", args.Residual);
        Check.Given(Operation, "weight", args.Weight);
        Check.Given(Operation, "y", args.Y);
        long tokens = args.Residual.Rows;
        int channels = args.Residual.Columns;
        Check.Shape(Operation, "x", args.X, tokens, channels);
        Check.Shape(Operation, "residual out", args.ResidualOut, tokens, channels);
        Check.Shape(Operation, "weight", args.Weight, 1, channels);
        Check.Shape(Operation, "y", args.Y, tokens, channels);
        Check.Type(Operation, "x", args.X, ActivationType);
        Check.Type(Operation, "residual", args.Residual, DataType.Float32);
        Check.Type(Operation, "residual out", args.ResidualOut, DataType.Float32);
        Check.Type(Operation, "weight", args.Weight, DataType.Float32);
        Check.Type(Operation, "y", args.Y, ActivationType);
        Trace?.BeginOperation(Operation, args.Work);
        AddRmsNormForwardCore(args.ResidualOut.IsNone ? args with { ResidualOut = args.Residual } : args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit; ResidualOut is given.</summary>
    protected abstract void AddRmsNormForwardCore(in AddRmsNormForwardArgs args);
}
