namespace MambaCuda.Kernels;

/// <summary>
/// Operands of <see cref="Backend.SelectiveScanBackward"/>. Gradients of what belongs to tokens are written; gradients of parameters, which
/// sum over tokens, are added to what is there. Every gradient but <see cref="GradY"/> may be left out.
/// </summary>
public readonly struct SelectiveScanBackwardArgs
{
    /// <summary>
    /// The operands of the forward pass, with the checkpoints that it left. Its FinalState is not read. Its Y, which may be none, is written
    /// again: who recomputes need not have kept it.
    /// </summary>
    public SelectiveScanForwardArgs Forward { get; init; }

    /// <summary>Gradient of y, (tokens, channels), activation type.</summary>
    public MatrixView GradY { get; init; }

    /// <summary>Gradient of the state after each sequence, shaped as that, Float32; or none for zeros.</summary>
    public MatrixView GradFinalState { get; init; }

    /// <summary>Gradient of u, (tokens, channels), activation type; may be the same view as GradY, for the same reason.</summary>
    public MatrixView GradU { get; init; }

    /// <summary>
    /// Gradient of delta before bias and softplus, (tokens, channels), activation type; may be the same view as Delta, which is then lost:
    /// whoever writes a part of it has read that part of Delta before, and nobody else reads that.
    /// </summary>
    public MatrixView GradDelta { get; init; }

    /// <summary>Added to: gradient of A, (state size, channels), Float32.</summary>
    public MatrixView GradA { get; init; }

    /// <summary>Gradient of B, shaped and typed as B; where B is constant, added to.</summary>
    public MatrixView GradB { get; init; }

    /// <summary>Gradient of C, shaped and typed as C; where C is constant, added to.</summary>
    public MatrixView GradC { get; init; }

    /// <summary>Added to: gradient of D, (1, channels), Float32.</summary>
    public MatrixView GradD { get; init; }

    /// <summary>Gradient of z, (tokens, channels), activation type.</summary>
    public MatrixView GradZ { get; init; }

    /// <summary>Added to: gradient of the bias of delta, (1, channels), Float32.</summary>
    public MatrixView GradDeltaBias { get; init; }

    /// <summary>
    /// Gradient of the state before each sequence, shaped as that, Float32; may be the same view as GradFinalState. Slots that no sequence
    /// has are not touched.
    /// </summary>
    public MatrixView GradInitialState { get; init; }

    /// <summary>
    /// For each state the forward's recurrence again and the adjoint's; the exponentials of the forward once more, one of them a state.
    /// </summary>
    internal OperationWork Work => OperationWork.Of(
        Forward.U, Forward.Delta, Forward.A, Forward.B, Forward.C, Forward.D, Forward.Z, Forward.DeltaBias, Forward.Checkpoints, Forward.Y,
        GradY, GradU, GradDelta, GradA, GradB, GradC, GradD, GradZ, GradDeltaBias) with
    {
        Arithmetic = ((22.0 * Forward.A.Rows) + 26) * Forward.U.Rows * Forward.U.Columns,
        Special = (Forward.A.Rows + (Forward.DeltaSoftplus ? 3.0 : 0) + (Forward.Z.IsNone ? 0 : 2)) * Forward.U.Rows * Forward.U.Columns,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// After how many tokens of a sequence the scan leaves its next checkpoint: what <see cref="SelectiveScanForwardArgs.Checkpoints"/>
    /// is shaped by.
    /// </summary>
    public virtual int ScanCheckpointSteps => 64;

    /// <summary>
    /// The gradients of <see cref="SelectiveScanForward"/> (Mamba, section 3.3.2 and appendix D): states are recomputed from the nearest
    /// checkpoint and never stored for all tokens. Sums are taken in a fixed order, so results repeat bit for bit.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train, or A is complex.</exception>
    public void SelectiveScanBackward(in SelectiveScanBackwardArgs args)
    {
        const string Operation = nameof(SelectiveScanBackward);
        SelectiveScanForwardArgs forward = args.Forward;
        CheckTrainable(Operation, forward);
        CheckSelectiveScan(Operation, forward, requireY: false);
        Check.Given(Operation, "checkpoints", forward.Checkpoints);
        Check.Given(Operation, "gradient of y", args.GradY);
        Check.Like(Operation, "gradient of y", args.GradY, "u", forward.U);
        Check.Like(Operation, "gradient of u", args.GradU, "u", forward.U);
        Check.Like(Operation, "gradient of delta", args.GradDelta, "delta", forward.Delta);
        Check.Like(Operation, "gradient of A", args.GradA, "A", forward.A);
        Check.Like(Operation, "gradient of B", args.GradB, "B", forward.B);
        Check.Like(Operation, "gradient of C", args.GradC, "C", forward.C);
        Check.Like(Operation, "gradient of D", args.GradD, "D", forward.D);
        Check.Like(Operation, "gradient of z", args.GradZ, "z", forward.Z);
        Check.Like(Operation, "gradient of the delta bias", args.GradDeltaBias, "delta bias", forward.DeltaBias);
        long stateRows = forward.Sequences.SlotCount * forward.A.Rows;
        foreach ((string name, MatrixView state) in new[] { ("final", args.GradFinalState), ("initial", args.GradInitialState) })
        {
            Check.AtLeast(Operation, $"gradient of the {name} state", state, stateRows, forward.U.Columns);
            Check.Type(Operation, $"gradient of the {name} state", state, DataType.Float32);
        }

        Trace?.BeginOperation(Operation, args.Work);
        SelectiveScanBackwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void SelectiveScanBackwardCore(in SelectiveScanBackwardArgs args) =>
        throw CannotTrain(nameof(SelectiveScanBackward));
}
