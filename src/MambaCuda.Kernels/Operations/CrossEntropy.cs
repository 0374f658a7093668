namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.CrossEntropy"/>.</summary>
public readonly struct CrossEntropyArgs
{
    /// <summary>The target of a row that has no part in the loss.</summary>
    public const int IgnoredTarget = -1;

    /// <summary>Logits, (rows, vocabulary), Float32.</summary>
    public MatrixView Logits { get; init; }

    /// <summary>The right token of each row, (rows, 1), Int32, or <see cref="IgnoredTarget"/>.</summary>
    public MatrixView Targets { get; init; }

    /// <summary>
    /// Weight of the z-loss, which keeps the softmax's normaliser near 1: weight * log(sum of e^logits)^2 is added to each row's loss.
    /// Usually 0 or 1e-4.
    /// </summary>
    public float ZLossWeight { get; init; }

    /// <summary>What the gradient is multiplied by: 1 / (targets of the batch) for a mean, times a loss scale.</summary>
    public float GradScale { get; init; }

    /// <summary>The loss of each row, (rows, 1), Float32, zero where ignored; not scaled.</summary>
    public MatrixView Losses { get; init; }

    /// <summary>
    /// Gradient of the logits, (rows, vocabulary), activation type, zero where ignored; may be the same memory as Logits where that has
    /// this type; or none where only the loss is wanted.
    /// </summary>
    public MatrixView GradLogits { get; init; }

    /// <summary>An exponential for each logit, a logarithm for each row.</summary>
    internal OperationWork Work => OperationWork.Of(Logits, Targets, Losses, GradLogits) with
    {
        Arithmetic = (GradLogits.IsNone ? 2.0 : 4.0) * Logits.Rows * Logits.Columns,
        Special = ((double)Logits.Rows * Logits.Columns) + Logits.Rows,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// Softmax cross-entropy and its gradient in one pass over some rows of logits: -log softmax(logits)[target] and
    /// (softmax(logits) - onehot(target)) * scale; with z = log(sum of e^logits), the z-loss adds weight * z^2 to the one and
    /// 2 * weight * z * softmax(logits) * scale to the other. A model calls it for as many rows as it holds logits of at once.
    /// </summary>
    /// <remarks>
    /// Where a logit is NaN or +infinity, or all are -infinity, the loss of its row is NaN and so is its gradient, in part at least;
    /// -infinity excludes a token. A wrong target is found before anything is written on the CPU, and when CUDA is next waited for.
    /// </remarks>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither in the vocabulary nor ignored.</exception>
    /// <exception cref="NotSupportedException">The backend cannot train.</exception>
    public void CrossEntropy(in CrossEntropyArgs args)
    {
        const string Operation = nameof(CrossEntropy);
        Check.Given(Operation, "logits", args.Logits);
        Check.Given(Operation, "targets", args.Targets);
        Check.Given(Operation, "losses", args.Losses);
        Check.Type(Operation, "logits", args.Logits, DataType.Float32);
        Check.Type(Operation, "targets", args.Targets, DataType.Int32);
        Check.Type(Operation, "losses", args.Losses, DataType.Float32);
        Check.Shape(Operation, "targets", args.Targets, args.Logits.Rows, 1);
        Check.Shape(Operation, "losses", args.Losses, args.Logits.Rows, 1);
        Check.Shape(Operation, "gradient of the logits", args.GradLogits, args.Logits.Rows, args.Logits.Columns);
        Check.Type(Operation, "gradient of the logits", args.GradLogits, ActivationType);
        Trace?.BeginOperation(Operation, args.Work);
        CrossEntropyCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected virtual void CrossEntropyCore(in CrossEntropyArgs args) => throw CannotTrain(nameof(CrossEntropy));
}
