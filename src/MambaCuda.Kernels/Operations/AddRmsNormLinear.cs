namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.AddRmsNormLinear"/>.</summary>
public readonly struct AddRmsNormLinearArgs
{
    /// <summary>What is added to the residual stream, (rows, inputs), activation type; or none.</summary>
    public MatrixView X { get; init; }

    /// <summary>The residual stream, (rows, inputs), Float32.</summary>
    public MatrixView Residual { get; init; }

    /// <summary>Where the sum goes, as Residual, in other memory; given where X is, and only there.</summary>
    public MatrixView ResidualOut { get; init; }

    /// <summary>The norm's weight, (1, inputs), Float32.</summary>
    public MatrixView NormWeight { get; init; }

    /// <summary>Added to the mean of squares; positive.</summary>
    public float Epsilon { get; init; }

    /// <summary>The layer's weight, (outputs, inputs): of any weight type, or quantized.</summary>
    public WeightView Weight { get; init; }

    /// <summary>The layer's bias, (1, outputs), Float32; or none.</summary>
    public MatrixView Bias { get; init; }

    /// <summary>Memory for the norm, (rows, inputs), activation type; what it holds afterwards is not said.</summary>
    public MatrixView NormWork { get; init; }

    /// <summary>Result, (rows, outputs), activation type or Float32.</summary>
    public MatrixView Y { get; init; }

    internal OperationWork Work => new(
        OperationWork.Of(X, Residual, ResidualOut, NormWeight, Bias, Y).Bytes + Weight.ByteLength)
    {
        Products = 2.0 * Residual.Rows * Residual.Columns * Weight.Rows,
        Arithmetic = (5.0 * Residual.Rows * Residual.Columns) + (Bias.IsNone ? 0 : (double)Y.Rows * Y.Columns),
        Special = 2.0 * Residual.Rows,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// <see cref="AddRmsNormForward"/>, and a linear layer over its result: what begins a block, and what makes logits. One pass over the
    /// weight where there is but one row. The weight is at rest (<see cref="LinearForwardArgs.WeightIsAtRest"/>).
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    public void AddRmsNormLinear(in AddRmsNormLinearArgs args)
    {
        const string Operation = nameof(AddRmsNormLinear);
        Check.Given(Operation, "residual", args.Residual);
        Check.Given(Operation, "norm weight", args.NormWeight);
        Check.Given(Operation, "work", args.NormWork);
        Check.Given(Operation, "y", args.Y);
        (long rows, int inputs) = (args.Residual.Rows, args.Residual.Columns);
        Check.Shape(Operation, "x", args.X, rows, inputs);
        Check.Shape(Operation, "norm weight", args.NormWeight, 1, inputs);
        Check.Weight(Operation, "weight", args.Weight, args.Weight.Rows, inputs);
        Check.Shape(Operation, "bias", args.Bias, 1, args.Weight.Rows);
        Check.Shape(Operation, "work", args.NormWork, rows, inputs);
        Check.Shape(Operation, "y", args.Y, rows, args.Weight.Rows);
        Check.Type(Operation, "x", args.X, ActivationType);
        Check.Type(Operation, "residual", args.Residual, DataType.Float32);
        Check.Type(Operation, "norm weight", args.NormWeight, DataType.Float32);
        Check.Type(Operation, "bias", args.Bias, DataType.Float32);
        Check.Type(Operation, "work", args.NormWork, ActivationType);
        Check.Positive(Operation, "epsilon", args.Epsilon);
        if (args.X.IsNone)
        {
            Check.None(Operation, "residual out", args.ResidualOut);
        }
        else
        {
            Check.Same(Operation, "residual out", args.ResidualOut, "residual", args.Residual);
            Check.Apart(Operation, "residual out", args.ResidualOut, "residual", args.Residual);
        }

        if (args.Y.Type != DataType.Float32)
        {
            Check.Type(Operation, "y", args.Y, ActivationType);
        }

        Trace?.BeginOperation(Operation, args.Work);
        AddRmsNormLinearCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void AddRmsNormLinearCore(in AddRmsNormLinearArgs args);

    /// <summary>The operation as two others.</summary>
    private protected void AddRmsNormThenLinear(in AddRmsNormLinearArgs args)
    {
        AddRmsNormForwardCore(new AddRmsNormForwardArgs
        {
            X = args.X,
            Residual = args.Residual,
            ResidualOut = args.X.IsNone ? args.Residual : args.ResidualOut,
            Weight = args.NormWeight,
            Epsilon = args.Epsilon,
            Y = args.NormWork,
        });
        LinearForwardCore(new LinearForwardArgs
        {
            X = args.NormWork,
            Weight = args.Weight,
            Bias = args.Bias,
            Y = args.Y,
            WeightIsAtRest = true,
        });
    }
}
