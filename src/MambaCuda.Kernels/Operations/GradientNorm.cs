namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.GradientNorm"/>.</summary>
public readonly struct GradientNormArgs
{
    /// <summary>The gradients of all parameters, (1 or more, columns) without gaps, Float32.</summary>
    public MatrixView Gradients { get; init; }

    /// <summary>Their Euclidean norm, (1, 1), Float32, on the device: who clips by it need not wait for it.</summary>
    public MatrixView Norm { get; init; }

    /// <summary>A multiply-add for each gradient.</summary>
    internal OperationWork Work => OperationWork.Of(Gradients, Norm) with { Arithmetic = 2.0 * Gradients.Rows * Gradients.Columns };
}

public abstract partial class Backend
{
    /// <summary>
    /// The norm of all gradients together. Summed in a fixed order in more than float32's precision, so it repeats bit for bit; infinite or
    /// NaN where a gradient is.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void GradientNorm(in GradientNormArgs args)
    {
        const string Operation = nameof(GradientNorm);
        Check.Given(Operation, "gradients", args.Gradients);
        Check.Given(Operation, "norm", args.Norm);
        Check.Contiguous(Operation, "gradients", args.Gradients);
        Check.Type(Operation, "gradients", args.Gradients, DataType.Float32);
        Check.Type(Operation, "norm", args.Norm, DataType.Float32);
        Check.Shape(Operation, "norm", args.Norm, 1, 1);
        Trace?.BeginOperation(Operation, args.Work);
        GradientNormCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void GradientNormCore(in GradientNormArgs args) => throw CannotTrain(nameof(GradientNorm));
}
