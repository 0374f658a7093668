namespace MambaCuda.Kernels;

/// <summary>
/// Operands of <see cref="Backend.CausalConv1dBackward"/>. The gradients of x and of the initial state are written, those of weight and bias
/// added to what is there. Every gradient but <see cref="GradY"/> may be left out.
/// </summary>
public readonly struct CausalConv1dBackwardArgs
{
    /// <summary>The operands of the forward pass; its Y and FinalState are not read and may be none.</summary>
    public CausalConv1dForwardArgs Forward { get; init; }

    /// <summary>Gradient of y, (tokens, channels), activation type.</summary>
    public MatrixView GradY { get; init; }

    /// <summary>
    /// A second gradient of y that is added to the first, shaped as that, for a result that two operations read; or none.
    /// </summary>
    public MatrixView MoreGradY { get; init; }

    /// <summary>Gradient of the state after each sequence, shaped as that, Float32; or none for zeros.</summary>
    public MatrixView GradFinalState { get; init; }

    /// <summary>Gradient of x, (tokens, channels), activation type; not the same memory as one of y's.</summary>
    public MatrixView GradX { get; init; }

    /// <summary>Added to: gradient of the kernel, (width, channels), Float32.</summary>
    public MatrixView GradWeight { get; init; }

    /// <summary>Added to: gradient of the bias, (1, channels), Float32.</summary>
    public MatrixView GradBias { get; init; }

    /// <summary>
    /// Gradient of the state before each sequence, shaped as that, Float32; may be the same view as GradFinalState. Slots that no sequence
    /// has are not touched.
    /// </summary>
    public MatrixView GradInitialState { get; init; }

    /// <summary>What stands before SiLU is made again, and SiLU's exponential and division with it.</summary>
    internal OperationWork Work => OperationWork.Of(
        Forward.X, Forward.Weight, Forward.Bias, GradY, MoreGradY, GradX, GradWeight, GradBias) with
    {
        Arithmetic = ((6.0 * Forward.Weight.Rows) + 8) * Forward.X.Rows * Forward.X.Columns,
        Special = Forward.Silu ? 2.0 * Forward.X.Rows * Forward.X.Columns : 0,
    };
}

public abstract partial class Backend
{
    /// <summary>The gradients of <see cref="CausalConv1dForward"/>; what stands before SiLU is recomputed.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void CausalConv1dBackward(in CausalConv1dBackwardArgs args)
    {
        const string Operation = nameof(CausalConv1dBackward);
        CausalConv1dForwardArgs forward = args.Forward;
        CheckCausalConv1d(Operation, forward, requireY: false);
        Check.Given(Operation, "gradient of y", args.GradY);
        Check.Like(Operation, "gradient of y", args.GradY, "x", forward.X);
        Check.Like(Operation, "second gradient of y", args.MoreGradY, "x", forward.X);
        Check.Like(Operation, "gradient of x", args.GradX, "x", forward.X);
        Check.Like(Operation, "gradient of the weight", args.GradWeight, "weight", forward.Weight);
        Check.Like(Operation, "gradient of the bias", args.GradBias, "bias", forward.Bias);
        long stateRows = forward.Sequences.SlotCount * (forward.Weight.Rows - 1);
        foreach ((string name, MatrixView state) in new[] { ("final", args.GradFinalState), ("initial", args.GradInitialState) })
        {
            Check.AtLeast(Operation, $"gradient of the {name} state", state, stateRows, forward.X.Columns);
            Check.Type(Operation, $"gradient of the {name} state", state, DataType.Float32);
        }

        Trace?.BeginOperation(Operation, args.Work);
        CausalConv1dBackwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void CausalConv1dBackwardCore(in CausalConv1dBackwardArgs args) => throw CannotTrain(nameof(CausalConv1dBackward));
}
