namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.LogProbabilities"/>.</summary>
public readonly struct LogProbabilitiesArgs
{
    /// <summary>Logits, (rows, vocabulary), Float32.</summary>
    public MatrixView Logits { get; init; }

    /// <summary>The token to judge in each row, (rows, 1), Int32.</summary>
    public MatrixView TokenIds { get; init; }

    /// <summary>log softmax(logits)[token] of each row, (rows, 1), Float32.</summary>
    public MatrixView Output { get; init; }

    /// <summary>An exponential for each logit, a logarithm for each row.</summary>
    internal OperationWork Work => OperationWork.Of(Logits, TokenIds, Output) with
    {
        Arithmetic = 2.0 * Logits.Rows * Logits.Columns,
        Special = ((double)Logits.Rows * Logits.Columns) + Logits.Rows,
    };
}

public abstract partial class Backend
{
    /// <summary>The natural logarithm of the probability that softmax(logits) gives to one token of each row.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is not in the vocabulary.</exception>
    public void LogProbabilities(in LogProbabilitiesArgs args)
    {
        const string Operation = nameof(LogProbabilities);
        Check.Given(Operation, "logits", args.Logits);
        Check.Given(Operation, "token ids", args.TokenIds);
        Check.Given(Operation, "output", args.Output);
        Check.Type(Operation, "logits", args.Logits, DataType.Float32);
        Check.Type(Operation, "token ids", args.TokenIds, DataType.Int32);
        Check.Type(Operation, "output", args.Output, DataType.Float32);
        Check.Shape(Operation, "token ids", args.TokenIds, args.Logits.Rows, 1);
        Check.Shape(Operation, "output", args.Output, args.Logits.Rows, 1);
        Trace?.BeginOperation(Operation, args.Work);
        LogProbabilitiesCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void LogProbabilitiesCore(in LogProbabilitiesArgs args);
}
