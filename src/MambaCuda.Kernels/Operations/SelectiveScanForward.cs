namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.SelectiveScanForward"/> and <see cref="Backend.SelectiveStateUpdate"/>.</summary>
public readonly struct SelectiveScanForwardArgs
{
    /// <summary>Input, (tokens, channels), activation type.</summary>
    public MatrixView U { get; init; }

    /// <summary>Step size before bias and softplus, (tokens, channels), activation type.</summary>
    public MatrixView Delta { get; init; }

    /// <summary>The diagonal of A, (state size, channels), Float32; -exp(A_log) of the published models.</summary>
    public MatrixView A { get; init; }

    /// <summary>
    /// The imaginary part of A where A is complex, (state size, channels), Float32; or none where A is real. With it states, B and C are
    /// complex too, and each of their numbers is two: real and imaginary part, side by side in a token's row of B or C, and in rows one
    /// after the other where rows are states.
    /// </summary>
    public MatrixView AImaginary { get; init; }

    /// <summary>
    /// B, (tokens, groups * state size), activation type, a group's states side by side; or, with <see cref="ConstantB"/>, (state size,
    /// channels), Float32. With complex A (tokens, groups * 2 * state size), or (2 * state size, channels).
    /// </summary>
    public MatrixView B { get; init; }

    /// <summary>C, shaped as B without or with <see cref="ConstantC"/>.</summary>
    public MatrixView C { get; init; }

    /// <summary>The skip connection, (1, channels), Float32; or none.</summary>
    public MatrixView D { get; init; }

    /// <summary>The gate, (tokens, channels), activation type: y is multiplied by silu(z); or none.</summary>
    public MatrixView Z { get; init; }

    /// <summary>Added to delta, (1, channels), Float32; or none.</summary>
    public MatrixView DeltaBias { get; init; }

    /// <summary>Whether softplus is applied to delta + bias.</summary>
    public bool DeltaSoftplus { get; init; }

    /// <summary>Whether B does not depend on the input (the paper's ablation, table 6).</summary>
    public bool ConstantB { get; init; }

    /// <summary>Whether C does not depend on the input.</summary>
    public bool ConstantC { get; init; }

    /// <summary>Which tokens belong together, and the slot of each sequence's state.</summary>
    public SequenceLayout Sequences { get; init; }

    /// <summary>
    /// The state before each sequence, (slots * state size, channels), Float32; with complex A (slots * 2 * state size, channels); or none
    /// for zeros.
    /// </summary>
    public MatrixView InitialState { get; init; }

    /// <summary>Where to leave the state after each sequence, as InitialState; may be the same view; or none.</summary>
    public MatrixView FinalState { get; init; }

    /// <summary>
    /// Where to leave the state before every <see cref="Backend.ScanCheckpointSteps"/>-th token of each sequence, its first included,
    /// (<see cref="SequenceLayout.CheckpointCount"/> * state size, channels), Float32, for the backward pass; or none.
    /// </summary>
    public MatrixView Checkpoints { get; init; }

    /// <summary>Result, (tokens, channels), activation type; may be the same memory as U or Z.</summary>
    public MatrixView Y { get; init; }

    /// <summary>Whether A, and with it B, C and states, are complex.</summary>
    internal bool IsComplex => !AImaginary.IsNone;

    /// <summary>The rows of a slot of states: one a state, or two where they are complex.</summary>
    internal int StateRows => IsComplex ? 2 * (int)A.Rows : (int)A.Rows;

    /// <summary>Groups of channels that share B and C; 1 where both are constant. Of operands that fit.</summary>
    internal int Groups => ConstantB && ConstantC ? 1 : (ConstantB ? C : B).Columns / StateRows;

    /// <summary>
    /// An exponential and six other operations for each state, three and eighteen where it is complex; softplus' exponential and logarithm
    /// and the gate's exponential and division are special too. States of the sequences that there are.
    /// </summary>
    internal OperationWork Work
    {
        get
        {
            double elements = (double)U.Rows * U.Columns;
            int states = (int)A.Rows;
            long state = (long)Sequences.Count * StateRows * U.Columns * sizeof(float);
            return new OperationWork(
                OperationWork.Of(U, Delta, A, AImaginary, B, C, D, Z, DeltaBias, Checkpoints, Y).Bytes
                + (InitialState.IsNone ? 0 : state) + (FinalState.IsNone ? 0 : state))
            {
                Arithmetic = elements * ((IsComplex ? 18.0 * states : 6.0 * states)
                    + 1 + (DeltaBias.IsNone ? 0 : 1) + (D.IsNone ? 0 : 2) + (Z.IsNone ? 0 : 3)),
                Special = elements * ((IsComplex ? 3.0 * states : states) + (DeltaSoftplus ? 2 : 0) + (Z.IsNone ? 0 : 2)),
            };
        }
    }
}

public abstract partial class Backend
{
    /// <summary>The largest state size that backends must handle.</summary>
    public const int MaxStateSize = 256;

    /// <summary>
    /// The selective scan (Mamba, section 3.2, algorithm 2, discretised as in section 3.1 with the simplified B of the official code):
    /// along each sequence h = exp(delta A) h + delta B u,  y = (C h + D u) silu(z), with delta = softplus(delta + bias).
    /// Channel c uses group c / (channels / groups) of B and C. With complex A (the paper's audio variant, appendix E.4) y is
    /// (2 Re(C h) + D u) silu(z), nothing being conjugated, as in the official selective_scan: of a pair of conjugate states one is kept.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">Checkpoints are asked for, and the backend cannot train, or A is complex.</exception>
    public void SelectiveScanForward(in SelectiveScanForwardArgs args)
    {
        CheckSelectiveScan(nameof(SelectiveScanForward), args);
        if (!args.Checkpoints.IsNone && !CanTrain)
        {
            throw CannotTrain("checkpoints of the scan");
        }

        if (!args.Checkpoints.IsNone)
        {
            CheckTrainable(nameof(SelectiveScanForward), args);
        }

        Trace?.BeginOperation(nameof(SelectiveScanForward), args.Work);
        SelectiveScanForwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void SelectiveScanForwardCore(in SelectiveScanForwardArgs args);

    private void CheckSelectiveScan(string operation, in SelectiveScanForwardArgs args, bool requireY = true)
    {
        Check.Given(operation, "u", args.U);
        Check.Given(operation, "delta", args.Delta);
        Check.Given(operation, "A", args.A);
        Check.Given(operation, "B", args.B);
        Check.Given(operation, "C", args.C);
        if (requireY)
        {
            Check.Given(operation, "y", args.Y);
        }

        Check.Layout(operation, args.Sequences, args.U.Rows);
        long tokens = args.U.Rows;
        int channels = args.U.Columns;
        if (args.A.Rows is < 1 or > MaxStateSize)
        {
            ShapeException.Throw(operation, $"A is {args.A}, but the state size must be 1 to {MaxStateSize}");
        }

        int stateSize = (int)args.A.Rows;
        Check.Shape(operation, "delta", args.Delta, tokens, channels);
        Check.Shape(operation, "A", args.A, stateSize, channels);
        Check.Shape(operation, "imaginary part of A", args.AImaginary, stateSize, channels);
        CheckInputMatrix(operation, "B", args.B, args.ConstantB, tokens, args.StateRows, channels);
        CheckInputMatrix(operation, "C", args.C, args.ConstantC, tokens, args.StateRows, channels);
        if (!args.ConstantB && !args.ConstantC && args.B.Columns != args.C.Columns)
        {
            ShapeException.Throw(operation, $"B is {args.B} and C is {args.C}; they must have the same groups");
        }

        Check.Shape(operation, "D", args.D, 1, channels);
        Check.Shape(operation, "z", args.Z, tokens, channels);
        Check.Shape(operation, "delta bias", args.DeltaBias, 1, channels);
        Check.Shape(operation, "y", args.Y, tokens, channels);
        Check.AtLeast(operation, "initial state", args.InitialState, (long)args.Sequences.SlotCount * args.StateRows, channels);
        Check.AtLeast(operation, "final state", args.FinalState, (long)args.Sequences.SlotCount * args.StateRows, channels);
        Check.Shape(
            operation, "checkpoints", args.Checkpoints, args.Sequences.CheckpointCount(ScanCheckpointSteps) * stateSize, channels);
        Check.Type(operation, "checkpoints", args.Checkpoints, DataType.Float32);
        Check.Type(operation, "u", args.U, ActivationType);
        Check.Type(operation, "delta", args.Delta, ActivationType);
        Check.Type(operation, "z", args.Z, ActivationType);
        Check.Type(operation, "y", args.Y, ActivationType);
        Check.Type(operation, "A", args.A, DataType.Float32);
        Check.Type(operation, "imaginary part of A", args.AImaginary, DataType.Float32);
        Check.Type(operation, "D", args.D, DataType.Float32);
        Check.Type(operation, "delta bias", args.DeltaBias, DataType.Float32);
        Check.Type(operation, "initial state", args.InitialState, DataType.Float32);
        Check.Type(operation, "final state", args.FinalState, DataType.Float32);
    }

    private static void CheckTrainable(string operation, in SelectiveScanForwardArgs args)
    {
        if (args.IsComplex)
        {
            throw new NotSupportedException($"{operation}: A is complex; there are gradients of the scan with real A alone.");
        }
    }

    private void CheckInputMatrix(
        string operation, string name, in MatrixView view, bool constant, long tokens, int stateRows, int channels)
    {
        if (constant)
        {
            Check.Shape(operation, $"constant {name}", view, stateRows, channels);
            Check.Type(operation, $"constant {name}", view, DataType.Float32);
            return;
        }

        Check.Type(operation, name, view, ActivationType);
        int groups = view.Columns / stateRows;
        if (view.Rows != tokens || groups == 0 || groups * stateRows != view.Columns || channels % groups != 0)
        {
            ShapeException.Throw(
                operation,
                $"{name} is {view}, but must be ({tokens} x groups * {stateRows}) with groups that divide the {channels} channels");
        }
    }
}
