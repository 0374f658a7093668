namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.EmbeddingBackward"/>.</summary>
public readonly struct EmbeddingBackwardArgs
{
    /// <summary>Token ids, (tokens, 1), Int32, each in [0, vocabulary).</summary>
    public MatrixView TokenIds { get; init; }

    /// <summary>Gradient of the rows that were looked up, (tokens, channels), Float32: that of the residual stream at its start.</summary>
    public MatrixView GradOutput { get; init; }

    /// <summary>Added to: gradient of the table, (vocabulary, channels), Float32.</summary>
    public MatrixView GradWeight { get; init; }

    /// <summary>A row of the table's gradient is read and written for each token.</summary>
    internal OperationWork Work => OperationWork.Of(TokenIds, GradOutput, GradOutput, GradOutput) with
    {
        Arithmetic = (double)GradOutput.Rows * GradOutput.Columns,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// The gradient of <see cref="EmbeddingForward"/>: each token's row is added to that of its id, in the order of the tokens, so that
    /// results repeat bit for bit.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is not in the vocabulary.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void EmbeddingBackward(in EmbeddingBackwardArgs args)
    {
        const string Operation = nameof(EmbeddingBackward);
        Check.Given(Operation, "token ids", args.TokenIds);
        Check.Given(Operation, "gradient of the output", args.GradOutput);
        Check.Given(Operation, "gradient of the weight", args.GradWeight);
        Check.Type(Operation, "token ids", args.TokenIds, DataType.Int32);
        Check.Type(Operation, "gradient of the output", args.GradOutput, DataType.Float32);
        Check.Type(Operation, "gradient of the weight", args.GradWeight, DataType.Float32);
        Check.Shape(Operation, "token ids", args.TokenIds, args.GradOutput.Rows, 1);
        Check.Shape(Operation, "gradient of the output", args.GradOutput, args.TokenIds.Rows, args.GradWeight.Columns);
        Trace?.BeginOperation(Operation, args.Work);
        EmbeddingBackwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void EmbeddingBackwardCore(in EmbeddingBackwardArgs args) => throw CannotTrain(nameof(EmbeddingBackward));
}
