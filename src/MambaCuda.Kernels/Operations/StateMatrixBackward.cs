namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.StateMatrixBackward"/>.</summary>
public readonly struct StateMatrixBackwardArgs
{
    /// <summary>The diagonal of A, (state size, channels), Float32.</summary>
    public MatrixView A { get; init; }

    /// <summary>The gradient of A, shaped as that.</summary>
    public MatrixView GradA { get; init; }

    /// <summary>Added to: the gradient of A_log, shaped as that.</summary>
    public MatrixView GradLogA { get; init; }

    /// <summary>The gradient of A_log is read and written.</summary>
    internal OperationWork Work => OperationWork.Of(A, GradA, GradLogA, GradLogA) with { Arithmetic = 2.0 * A.Rows * A.Columns };
}

public abstract partial class Backend
{
    /// <summary>The gradient of <see cref="StateMatrixForward"/>: of A_log += grad_A * A.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void StateMatrixBackward(in StateMatrixBackwardArgs args)
    {
        const string Operation = nameof(StateMatrixBackward);
        Check.Given(Operation, "A", args.A);
        Check.Type(Operation, "A", args.A, DataType.Float32);
        Check.Given(Operation, "gradient of A", args.GradA);
        Check.Like(Operation, "gradient of A", args.GradA, "A", args.A);
        Check.Given(Operation, "gradient of A_log", args.GradLogA);
        Check.Like(Operation, "gradient of A_log", args.GradLogA, "A", args.A);
        Trace?.BeginOperation(Operation, args.Work);
        StateMatrixBackwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void StateMatrixBackwardCore(in StateMatrixBackwardArgs args) => throw CannotTrain(nameof(StateMatrixBackward));
}
