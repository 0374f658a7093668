namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.AttentionForward"/>.</summary>
public readonly struct AttentionForwardArgs
{
    /// <summary>Queries, (tokens, heads * head size), activation type; columns of a wider matrix are fine, here and below.</summary>
    public MatrixView Q { get; init; }

    /// <summary>Keys, shaped as the queries.</summary>
    public MatrixView K { get; init; }

    /// <summary>Values, shaped as the queries.</summary>
    public MatrixView V { get; init; }

    /// <summary>The number of heads, at least 1; each has as many columns, 1 to <see cref="Backend.MaxHeadSize"/>.</summary>
    public int Heads { get; init; }

    /// <summary>What scores are multiplied by; null for 1 / sqrt(head size).</summary>
    public float? Scale { get; init; }

    /// <summary>Which tokens belong together: a token sees itself and those before it in its sequence. Slots are not used.</summary>
    public SequenceLayout Sequences { get; init; }

    /// <summary>Result, (tokens, heads * head size), activation type; not the same memory as K or V.</summary>
    public MatrixView Y { get; init; }

    /// <summary>log of the sum of e^score of each query, (heads, tokens), Float32, which the backward pass needs; or none.</summary>
    public MatrixView LogSumExp { get; init; }

    /// <summary>The columns of a head.</summary>
    internal int HeadSize => Q.Columns / Heads;

    /// <summary>The scale that is meant.</summary>
    internal float ChosenScale => Scale ?? 1 / MathF.Sqrt(HeadSize);

    /// <summary>Two products over the pairs of tokens that see each other, and the softmax of their scores.</summary>
    internal OperationWork Work => OperationWork.Of(Q, K, V, Y, LogSumExp) with
    {
        Products = 4.0 * Pairs * Q.Columns,
        Arithmetic = 3.0 * Pairs * Heads,
        Special = (double)Pairs * Heads,
    };

    /// <summary>How many pairs of a query and a key meet in each head.</summary>
    internal long Pairs
    {
        get
        {
            long pairs = 0;
            for (int i = 0; i < Sequences.Count; i++)
            {
                long length = Sequences.Starts[i + 1] - Sequences.Starts[i];
                pairs += length * (length + 1) / 2;
            }

            return pairs;
        }
    }
}

public abstract partial class Backend
{
    /// <summary>The most columns that a head of attention can have.</summary>
    public const int MaxHeadSize = 128;

    /// <summary>
    /// Causal attention of every head within each sequence, y[i] = sum over j up to i of softmax(scale q[i] . k[j]) v[j] (Vaswani et al.,
    /// 2017; the algorithm is FlashAttention-2, Dao, 2023): what the scan is compared with, and what hybrid models have beside it.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    public void AttentionForward(in AttentionForwardArgs args)
    {
        const string Operation = nameof(AttentionForward);
        CheckAttention(Operation, args);
        Trace?.BeginOperation(Operation, args.Work);
        AttentionForwardCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void AttentionForwardCore(in AttentionForwardArgs args);

    private void CheckAttention(string operation, in AttentionForwardArgs args)
    {
        CheckAttentionInputs(operation, args.Q, args.K, args.V, args.Y, args.Heads, args.Scale);
        Check.Layout(operation, args.Sequences, args.Q.Rows);
        if (args.Sequences.MaxLength > int.MaxValue)
        {
            ShapeException.Throw(operation, $"a sequence has {args.Sequences.MaxLength} tokens, but can have {int.MaxValue}");
        }

        Check.Shape(operation, "log-sum-exp", args.LogSumExp, args.Heads, args.Q.Rows);
        Check.Type(operation, "log-sum-exp", args.LogSumExp, DataType.Float32);
    }

    private void CheckAttentionInputs(
        string operation, in MatrixView q, in MatrixView k, in MatrixView v, in MatrixView y, int heads, float? scale)
    {
        Check.Given(operation, "q", q);
        Check.Type(operation, "q", q, ActivationType);
        Check.Same(operation, "k", k, "q", q);
        Check.Same(operation, "v", v, "q", q);
        Check.Same(operation, "y", y, "q", q);
        Check.Apart(operation, "y", y, "k", k);
        Check.Apart(operation, "y", y, "v", v);
        Check.Positive(operation, "heads", heads);
        if (scale is { } given)
        {
            Check.Positive(operation, "scale", given);
        }

        if (q.Columns % heads != 0 || q.Columns / heads is < 1 or > MaxHeadSize)
        {
            ShapeException.Throw(operation, $"q is {q}, but must have 1 to {MaxHeadSize} columns for each of {heads} heads");
        }
    }
}
