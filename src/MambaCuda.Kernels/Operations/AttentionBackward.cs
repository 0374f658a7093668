namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.AttentionBackward"/>. All gradients are written.</summary>
public readonly struct AttentionBackwardArgs
{
    /// <summary>The operands of the forward pass, and its results, which are read: Y and LogSumExp.</summary>
    public AttentionForwardArgs Forward { get; init; }

    /// <summary>Gradient of y, (tokens, heads * head size), activation type.</summary>
    public MatrixView GradY { get; init; }

    /// <summary>Gradient of the queries, shaped as they are, activation type; no memory of an operand that is read, as the others.</summary>
    public MatrixView GradQ { get; init; }

    /// <summary>Gradient of the keys.</summary>
    public MatrixView GradK { get; init; }

    /// <summary>Gradient of the values.</summary>
    public MatrixView GradV { get; init; }

    /// <summary>Five products over the pairs of tokens that see each other: scores are made once more.</summary>
    internal OperationWork Work => new(Forward.Work.Bytes + OperationWork.Of(GradY, GradQ, GradK, GradV).Bytes)
    {
        Products = 10.0 * Forward.Pairs * Forward.Q.Columns,
        Arithmetic = 6.0 * Forward.Pairs * Forward.Heads,
        Special = (double)Forward.Pairs * Forward.Heads,
    };
}

public abstract partial class Backend
{
    /// <summary>The gradients of <see cref="AttentionForward"/>; weights are made again from LogSumExp. The same bits every time.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void AttentionBackward(in AttentionBackwardArgs args)
    {
        const string Operation = nameof(AttentionBackward);
        AttentionForwardArgs forward = args.Forward;
        CheckAttention(Operation, forward);
        Check.Given(Operation, "log-sum-exp", forward.LogSumExp);
        Check.Same(Operation, "gradient of y", args.GradY, "q", forward.Q);
        foreach ((string name, MatrixView gradient) in new[] { ("q", args.GradQ), ("k", args.GradK), ("v", args.GradV) })
        {
            Check.Same(Operation, $"gradient of {name}", gradient, "q", forward.Q);
            foreach ((string read, MatrixView view) in new[]
            {
                ("q", forward.Q), ("k", forward.K), ("v", forward.V), ("y", forward.Y), ("the gradient of y", args.GradY),
            })
            {
                Check.Apart(Operation, $"the gradient of {name}", gradient, read, view);
            }
        }

        Trace?.BeginOperation(Operation, args.Work);
        AttentionBackwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void AttentionBackwardCore(in AttentionBackwardArgs args) => throw CannotTrain(nameof(AttentionBackward));
}
