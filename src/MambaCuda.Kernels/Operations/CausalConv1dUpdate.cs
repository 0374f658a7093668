namespace MambaCuda.Kernels;

public abstract partial class Backend
{
    /// <summary>
    /// One token for each sequence: <see cref="CausalConv1dForward"/> over sequences of length 1, state in place.
    /// </summary>
    /// <exception cref="ShapeException">As there; or a sequence is longer than 1, or the states are not one and the same view.</exception>
    public void CausalConv1dUpdate(in CausalConv1dForwardArgs args)
    {
        const string Operation = nameof(CausalConv1dUpdate);
        CheckCausalConv1d(Operation, args);
        Check.OneTokenEach(Operation, args.Sequences);
        Check.InPlace(Operation, args.InitialState, args.FinalState);
        Trace?.BeginOperation(Operation, args.Work);
        CausalConv1dUpdateCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void CausalConv1dUpdateCore(in CausalConv1dForwardArgs args);
}
