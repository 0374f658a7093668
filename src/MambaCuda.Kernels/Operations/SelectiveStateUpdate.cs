namespace MambaCuda.Kernels;

public abstract partial class Backend
{
    /// <summary>
    /// One token for each sequence, as generation needs it (Mamba, section 3.2: the recurrent mode):
    /// <see cref="SelectiveScanForward"/> over sequences of length 1, from the initial state to the final one, which may be the same view.
    /// </summary>
    /// <exception cref="ShapeException">As there; or a sequence is longer than 1, or a state is missing.</exception>
    public void SelectiveStateUpdate(in SelectiveScanForwardArgs args)
    {
        const string Operation = nameof(SelectiveStateUpdate);
        CheckSelectiveScan(Operation, args);
        Check.OneTokenEach(Operation, args.Sequences);
        Check.None(Operation, "checkpoints", args.Checkpoints);
        Check.Given(Operation, "initial state", args.InitialState);
        Check.Given(Operation, "final state", args.FinalState);
        Trace?.BeginOperation(Operation, args.Work);
        SelectiveStateUpdateCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void SelectiveStateUpdateCore(in SelectiveScanForwardArgs args);
}
