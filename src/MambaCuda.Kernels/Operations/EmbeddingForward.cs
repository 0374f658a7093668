namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.EmbeddingForward"/>.</summary>
public readonly struct EmbeddingForwardArgs
{
    /// <summary>Token ids, (tokens, 1), Int32, each in [0, vocabulary).</summary>
    public MatrixView TokenIds { get; init; }

    /// <summary>The table, (vocabulary, channels), of any weight type.</summary>
    public MatrixView Weight { get; init; }

    /// <summary>The rows of the table, (tokens, channels), Float32: the start of the residual stream.</summary>
    public MatrixView Output { get; init; }

    /// <summary>A row of the table is read for each token.</summary>
    internal OperationWork Work => new(TokenIds.ByteLength + (Output.Rows * Output.Columns * Weight.Type.Size()) + Output.ByteLength);
}

public abstract partial class Backend
{
    /// <summary>Looks up a row of the embedding table for every token.</summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is not in the vocabulary.</exception>
    public void EmbeddingForward(in EmbeddingForwardArgs args)
    {
        const string Operation = nameof(EmbeddingForward);
        Check.Given(Operation, "token ids", args.TokenIds);
        Check.Given(Operation, "weight", args.Weight);
        Check.Given(Operation, "output", args.Output);
        Check.Type(Operation, "token ids", args.TokenIds, DataType.Int32);
        Check.WeightType(Operation, "weight", args.Weight);
        Check.Type(Operation, "output", args.Output, DataType.Float32);
        Check.Shape(Operation, "token ids", args.TokenIds, args.TokenIds.Rows, 1);
        Check.Shape(Operation, "output", args.Output, args.TokenIds.Rows, args.Weight.Columns);
        Trace?.BeginOperation(Operation, args.Work);
        EmbeddingForwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void EmbeddingForwardCore(in EmbeddingForwardArgs args);
}
