namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.CausalConv1dForward"/> and <see cref="Backend.CausalConv1dUpdate"/>.</summary>
public readonly struct CausalConv1dForwardArgs
{
    /// <summary>Input, (tokens, channels), activation type; columns of a wider matrix are fine.</summary>
    public MatrixView X { get; init; }

    /// <summary>The kernel, (width, channels), Float32, width 2 to 4; the last row meets the current token.</summary>
    public MatrixView Weight { get; init; }

    /// <summary>Bias, (1, channels), Float32; or none.</summary>
    public MatrixView Bias { get; init; }

    /// <summary>Which tokens belong together, and the slot of each sequence's state.</summary>
    public SequenceLayout Sequences { get; init; }

    /// <summary>
    /// The last width - 1 inputs before each sequence, (slots * (width - 1), channels), Float32, oldest first; or none for zeros.
    /// </summary>
    public MatrixView InitialState { get; init; }

    /// <summary>Where to leave the last width - 1 inputs of each sequence, as InitialState; may be the same view; or none.</summary>
    public MatrixView FinalState { get; init; }

    /// <summary>Whether SiLU follows.</summary>
    public bool Silu { get; init; }

    /// <summary>Result, (tokens, channels), activation type; not the same memory as X.</summary>
    public MatrixView Y { get; init; }

    /// <summary>A multiply-add for each tap; SiLU's exponential and division are special. States of the sequences that there are.</summary>
    internal OperationWork Work => new(OperationWork.Of(X, Weight, Bias, Y).Bytes + StateBytes(InitialState) + StateBytes(FinalState))
    {
        Arithmetic = ((2.0 * Weight.Rows) + 2) * X.Rows * X.Columns,
        Special = Silu ? 2.0 * X.Rows * X.Columns : 0,
    };

    private long StateBytes(in MatrixView state) =>
        state.IsNone ? 0 : Sequences.Count * (Weight.Rows - 1) * X.Columns * sizeof(float);
}

public abstract partial class Backend
{
    /// <summary>
    /// Depthwise causal convolution along each sequence, then SiLU (Mamba, section 3.4, figure 3):
    /// y[t] = silu(bias + sum over k of weight[k] * x[t - width + 1 + k]), where inputs before a sequence come from its state.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    public void CausalConv1dForward(in CausalConv1dForwardArgs args)
    {
        CheckCausalConv1d(nameof(CausalConv1dForward), args);
        Trace?.BeginOperation(nameof(CausalConv1dForward), args.Work);
        CausalConv1dForwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void CausalConv1dForwardCore(in CausalConv1dForwardArgs args);

    private void CheckCausalConv1d(string operation, in CausalConv1dForwardArgs args, bool requireY = true)
    {
        Check.Given(operation, "x", args.X);
        Check.Given(operation, "weight", args.Weight);
        if (requireY)
        {
            Check.Given(operation, "y", args.Y);
        }

        Check.Layout(operation, args.Sequences, args.X.Rows);
        int channels = args.X.Columns;
        if (args.Weight.Rows is < 2 or > 4)
        {
            ShapeException.Throw(operation, $"weight is {args.Weight}, but the kernel's width must be 2, 3 or 4");
        }

        long stateRows = args.Sequences.SlotCount * (args.Weight.Rows - 1);
        Check.Shape(operation, "weight", args.Weight, args.Weight.Rows, channels);
        Check.Shape(operation, "bias", args.Bias, 1, channels);
        Check.Shape(operation, "y", args.Y, args.X.Rows, channels);
        Check.AtLeast(operation, "initial state", args.InitialState, stateRows, channels);
        Check.AtLeast(operation, "final state", args.FinalState, stateRows, channels);
        Check.Type(operation, "x", args.X, ActivationType);
        Check.Type(operation, "y", args.Y, ActivationType);
        Check.Type(operation, "weight", args.Weight, DataType.Float32);
        Check.Type(operation, "bias", args.Bias, DataType.Float32);
        Check.Type(operation, "initial state", args.InitialState, DataType.Float32);
        Check.Type(operation, "final state", args.FinalState, DataType.Float32);
    }
}
