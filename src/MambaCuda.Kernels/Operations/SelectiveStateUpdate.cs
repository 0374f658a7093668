namespace MambaCuda.Kernels;

public abstract partial class Backend
{
    /// <summary>
    /// One token for each sequence, as generation needs it (Mamba, section 3.2: the recurrent mode):
    /// <see cref="SelectiveScanForward"/> over sequences of length 1, state in place.
    /// </summary>
    /// <exception cref="ShapeException">As there; or a sequence is longer than 1, or the states are not one and the same view.</exception>
    public void SelectiveStateUpdate(in SelectiveScanForwardArgs args)
    {
        const string Operation = nameof(SelectiveStateUpdate);
        CheckSelectiveScan(Operation, args);
        Check.OneTokenEach(Operation, args.Sequences);
        Check.None(Operation, "checkpoints", args.Checkpoints);
        Check.InPlace(Operation, args.InitialState, args.FinalState);
        Trace?.BeginOperation(Operation, args.Work);
        SelectiveStateUpdateCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void SelectiveStateUpdateCore(in SelectiveScanForwardArgs args);
}
