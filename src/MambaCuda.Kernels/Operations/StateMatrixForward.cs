namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.StateMatrixForward"/>.</summary>
public readonly struct StateMatrixForwardArgs
{
    /// <summary>The parameter A_log, (state size, channels), Float32.</summary>
    public MatrixView LogA { get; init; }

    /// <summary>The diagonal of A, shaped as that.</summary>
    public MatrixView A { get; init; }

    /// <summary>An exponential for each element.</summary>
    internal OperationWork Work => OperationWork.Of(LogA, A) with { Special = (double)A.Rows * A.Columns };
}

public abstract partial class Backend
{
    /// <summary>A = -exp(A_log): the parameter by which A is learned stays negative whatever it is (Mamba, section 3.6).</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void StateMatrixForward(in StateMatrixForwardArgs args)
    {
        const string Operation = nameof(StateMatrixForward);
        Check.Given(Operation, "A_log", args.LogA);
        Check.Type(Operation, "A_log", args.LogA, DataType.Float32);
        Check.Given(Operation, "A", args.A);
        Check.Like(Operation, "A", args.A, "A_log", args.LogA);
        Trace?.BeginOperation(Operation, args.Work);
        StateMatrixForwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void StateMatrixForwardCore(in StateMatrixForwardArgs args) => throw CannotTrain(nameof(StateMatrixForward));
}
