namespace MambaCuda.Kernels;

public abstract partial class Backend
{
    /// <summary>
    /// One token for each sequence: <see cref="CausalConv1dForward"/> over sequences of length 1, from the initial state to the final one, which may be the same view.
    /// </summary>
    /// <exception cref="ShapeException">As there; or a sequence is longer than 1, or a state is missing.</exception>
    public void CausalConv1dUpdate(in CausalConv1dForwardArgs args)
    {
        const string Operation = nameof(CausalConv1dUpdate);
        CheckCausalConv1d(Operation, args);
        Check.OneTokenEach(Operation, args.Sequences);
        Check.Given(Operation, "initial state", args.InitialState);
        Check.Given(Operation, "final state", args.FinalState);
        Trace?.BeginOperation(Operation, args.Work);
        CausalConv1dUpdateCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void CausalConv1dUpdateCore(in CausalConv1dForwardArgs args);
}
