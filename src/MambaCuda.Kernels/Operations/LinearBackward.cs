namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.LinearBackward"/>; each of the gradients that it makes may be left out.</summary>
public readonly struct LinearBackwardArgs
{
    /// <summary>The forward's input, (rows, inputs), activation type; may be none where no gradient of the weight is wanted.</summary>
    public MatrixView X { get; init; }

    /// <summary>The weight, (outputs, inputs), any weight type; may be none where no gradient of x is wanted.</summary>
    public MatrixView Weight { get; init; }

    /// <summary>Gradient of y, (rows, outputs), activation type.</summary>
    public MatrixView GradY { get; init; }

    /// <summary>Gradient of x, (rows, inputs), activation type; not the same memory as GradY.</summary>
    public MatrixView GradX { get; init; }

    /// <summary>Whether the gradient of x is added to what GradX holds: for an input that two operations read.</summary>
    public bool AddToGradX { get; init; }

    /// <summary>Added to: gradient of the weight, (outputs, inputs), Float32.</summary>
    public MatrixView GradWeight { get; init; }

    /// <summary>Whether the gradient of the weight is written over what is there instead: the first one of a step.</summary>
    public bool OverwritesGradWeight { get; init; }

    /// <summary>Added to: gradient of the bias, (1, outputs), Float32.</summary>
    public MatrixView GradBias { get; init; }

    /// <summary>A product for each of the gradients of x and of the weight, which are read too where they are added to.</summary>
    internal OperationWork Work => new(
        OperationWork.Of(
            GradY, GradX, AddToGradX ? GradX : default, GradWeight, OverwritesGradWeight ? default : GradWeight, GradBias).Bytes
        + (GradX.IsNone ? 0 : Weight.ByteLength) + (GradWeight.IsNone ? 0 : X.ByteLength))
    {
        Products = 2.0 * GradY.Rows * GradY.Columns * (GradX.Columns + GradWeight.Columns),
        Arithmetic = GradBias.IsNone ? 0 : (double)GradY.Rows * GradY.Columns,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// The gradients of <see cref="LinearForward"/>: of x = grad_y W, of W += grad_y^T x, of the bias += the sum of grad_y over rows;
    /// accumulated in float32, sums over rows in an order that the shapes alone decide.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void LinearBackward(in LinearBackwardArgs args)
    {
        const string Operation = nameof(LinearBackward);
        Check.Given(Operation, "gradient of y", args.GradY);
        long rows = args.GradY.Rows;
        int outputs = args.GradY.Columns;
        Check.Type(Operation, "gradient of y", args.GradY, ActivationType);
        if (!args.GradX.IsNone)
        {
            Check.Given(Operation, "weight", args.Weight);
            Check.Shape(Operation, "weight", args.Weight, outputs, args.GradX.Columns);
            Check.WeightType(Operation, "weight", args.Weight);
            Check.Shape(Operation, "gradient of x", args.GradX, rows, args.GradX.Columns);
            Check.Type(Operation, "gradient of x", args.GradX, ActivationType);
            Check.Apart(Operation, "gradient of x", args.GradX, "gradient of y", args.GradY);
        }

        if (!args.GradWeight.IsNone)
        {
            Check.Given(Operation, "x", args.X);
            Check.Shape(Operation, "x", args.X, rows, args.GradWeight.Columns);
            Check.Type(Operation, "x", args.X, ActivationType);
            Check.Shape(Operation, "gradient of the weight", args.GradWeight, outputs, args.GradWeight.Columns);
            Check.Type(Operation, "gradient of the weight", args.GradWeight, DataType.Float32);
        }

        Check.Shape(Operation, "gradient of the bias", args.GradBias, 1, outputs);
        Check.Type(Operation, "gradient of the bias", args.GradBias, DataType.Float32);
        Trace?.BeginOperation(Operation, args.Work);
        LinearBackwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void LinearBackwardCore(in LinearBackwardArgs args) => throw CannotTrain(nameof(LinearBackward));
}
