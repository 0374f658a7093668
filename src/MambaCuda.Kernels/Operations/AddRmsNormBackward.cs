namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.AddRmsNormBackward"/>.</summary>
public readonly struct AddRmsNormBackwardArgs
{
    /// <summary>The residual stream as the forward pass left it, x added, (tokens, channels), Float32.</summary>
    public MatrixView Residual { get; init; }

    /// <summary>The norm's weight, (1, channels), Float32.</summary>
    public MatrixView Weight { get; init; }

    /// <summary>As in the forward pass.</summary>
    public float Epsilon { get; init; }

    /// <summary>Gradient of y, (tokens, channels), activation type.</summary>
    public MatrixView GradY { get; init; }

    /// <summary>
    /// (tokens, channels), Float32. Before: the gradient of the residual stream behind this norm. After: that of the stream before it, the
    /// norm's part added.
    /// </summary>
    public MatrixView GradResidual { get; init; }

    /// <summary>
    /// Gradient of x, (tokens, channels), activation type: GradResidual as it is after, rounded; or none before the first block.
    /// </summary>
    public MatrixView GradX { get; init; }

    /// <summary>Added to: gradient of the weight, (1, channels), Float32; or none.</summary>
    public MatrixView GradWeight { get; init; }

    /// <summary>The forward's result again, to the last bit, (tokens, channels), activation type; or none.</summary>
    public MatrixView Y { get; init; }

    /// <summary>The gradient of the residual stream is read and written.</summary>
    internal OperationWork Work => OperationWork.Of(Residual, Weight, GradY, GradResidual, GradResidual, GradX, GradWeight, Y) with
    {
        Arithmetic = 10.0 * Residual.Rows * Residual.Columns,
        Special = 2.0 * Residual.Rows,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// The gradients of <see cref="AddRmsNormForward"/>: with r = 1 / sqrt(mean(residual^2) + epsilon) and n = residual * r, of the
    /// residual += r (g w - n mean(g w n)), g being that of y, and of the weight += the sum of g n over tokens.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void AddRmsNormBackward(in AddRmsNormBackwardArgs args)
    {
        const string Operation = nameof(AddRmsNormBackward);
        Check.Given(Operation, "residual", args.Residual);
        Check.Given(Operation, "weight", args.Weight);
        Check.Given(Operation, "gradient of y", args.GradY);
        Check.Given(Operation, "gradient of the residual", args.GradResidual);
        long tokens = args.Residual.Rows;
        int channels = args.Residual.Columns;
        Check.Type(Operation, "residual", args.Residual, DataType.Float32);
        Check.Shape(Operation, "weight", args.Weight, 1, channels);
        Check.Type(Operation, "weight", args.Weight, DataType.Float32);
        Check.Shape(Operation, "gradient of y", args.GradY, tokens, channels);
        Check.Type(Operation, "gradient of y", args.GradY, ActivationType);
        Check.Like(Operation, "gradient of the residual", args.GradResidual, "residual", args.Residual);
        Check.Like(Operation, "gradient of x", args.GradX, "gradient of y", args.GradY);
        Check.Like(Operation, "gradient of the weight", args.GradWeight, "weight", args.Weight);
        Check.Like(Operation, "y", args.Y, "gradient of y", args.GradY);
        Trace?.BeginOperation(Operation, args.Work);
        AddRmsNormBackwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void AddRmsNormBackwardCore(in AddRmsNormBackwardArgs args) => throw CannotTrain(nameof(AddRmsNormBackward));
}
