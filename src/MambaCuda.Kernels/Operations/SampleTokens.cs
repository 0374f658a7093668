namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.SampleTokens"/>.</summary>
public readonly struct SampleTokensArgs
{
    /// <summary>Logits, (rows, vocabulary), Float32; not changed.</summary>
    public MatrixView Logits { get; init; }

    /// <summary>
    /// How to choose in each row, (rows, <see cref="TokenSampling.Columns"/>), Float32: what <see cref="TokenSampling.CopyTo"/> writes.
    /// Values without a meaning choose some token.
    /// </summary>
    public MatrixView Options { get; init; }

    /// <summary>
    /// How many times each token was seen, (rows, vocabulary), Int32; the chosen token is counted. Or none, and then there are no
    /// penalties.
    /// </summary>
    public MatrixView Counts { get; init; }

    /// <summary>
    /// Where the random numbers of each row stand, (rows, <see cref="RandomStream.StateLength"/>), Int64: what
    /// <see cref="RandomStream.CopyStateTo"/> writes. A row that draws moves on by one number; one with temperature 0 does not.
    /// </summary>
    public MatrixView RandomStates { get; init; }

    /// <summary>The chosen tokens, (rows, 1), Int32.</summary>
    public MatrixView TokenIds { get; init; }

    /// <summary>The natural logarithm of the probability that softmax(logits) gives to the chosen token, (rows, 1), Float32.</summary>
    public MatrixView LogProbabilities { get; init; }

    /// <summary>Logits, and counts where there are any, are read once; an exponential for each logit.</summary>
    internal OperationWork Work => OperationWork.Of(Logits, Counts, Options, RandomStates, RandomStates, TokenIds, LogProbabilities) with
    {
        Arithmetic = 3.0 * Logits.Rows * Logits.Columns,
        Special = (double)Logits.Rows * Logits.Columns,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// Chooses the next token of each row. Of tokens that are equally probable, filters keep the lower ids, and temperature 0 takes the
    /// lowest. A draw walks what is kept in the order of ids until it has passed the random number's share of the sum.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="ArithmeticException">A logit is NaN or plus infinity, or all of a row are minus infinity.</exception>
    public void SampleTokens(in SampleTokensArgs args)
    {
        const string Operation = nameof(SampleTokens);
        Check.Given(Operation, "logits", args.Logits);
        Check.Given(Operation, "options", args.Options);
        Check.Given(Operation, "random states", args.RandomStates);
        Check.Given(Operation, "token ids", args.TokenIds);
        Check.Given(Operation, "log-probabilities", args.LogProbabilities);
        Check.Type(Operation, "logits", args.Logits, DataType.Float32);
        Check.Type(Operation, "options", args.Options, DataType.Float32);
        Check.Type(Operation, "counts", args.Counts, DataType.Int32);
        Check.Type(Operation, "random states", args.RandomStates, DataType.Int64);
        Check.Type(Operation, "token ids", args.TokenIds, DataType.Int32);
        Check.Type(Operation, "log-probabilities", args.LogProbabilities, DataType.Float32);
        long rows = args.Logits.Rows;
        if (args.Logits.Columns == 0)
        {
            ShapeException.Throw(Operation, $"logits is {args.Logits}, but a vocabulary has at least one token");
        }

        Check.Shape(Operation, "options", args.Options, rows, TokenSampling.Columns);
        Check.Shape(Operation, "counts", args.Counts, rows, args.Logits.Columns);
        Check.Shape(Operation, "random states", args.RandomStates, rows, RandomStream.StateLength);
        Check.Shape(Operation, "token ids", args.TokenIds, rows, 1);
        Check.Shape(Operation, "log-probabilities", args.LogProbabilities, rows, 1);
        Trace?.BeginOperation(Operation, args.Work);
        SampleTokensCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void SampleTokensCore(in SampleTokensArgs args);
}
