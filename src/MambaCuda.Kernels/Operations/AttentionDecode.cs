namespace MambaCuda.Kernels;

/// <summary>Operands of <see cref="Backend.AttentionDecode"/>.</summary>
public readonly struct AttentionDecodeArgs
{
    /// <summary>Queries of one new token of each sequence, (sequences, heads * head size), activation type.</summary>
    public MatrixView Q { get; init; }

    /// <summary>Keys of the new tokens, shaped as the queries.</summary>
    public MatrixView K { get; init; }

    /// <summary>Values of the new tokens, shaped as the queries.</summary>
    public MatrixView V { get; init; }

    /// <summary>The number of heads, at least 1; each has as many columns, 1 to <see cref="Backend.MaxHeadSize"/>.</summary>
    public int Heads { get; init; }

    /// <summary>What scores are multiplied by; null for 1 / sqrt(head size).</summary>
    public float? Scale { get; init; }

    /// <summary>
    /// Keys of earlier tokens, (sequences * capacity, heads * head size), activation type, those of a sequence together; the new key is
    /// put behind them.
    /// </summary>
    public MatrixView KeyCache { get; init; }

    /// <summary>Values of earlier tokens, shaped as the keys.</summary>
    public MatrixView ValueCache { get; init; }

    /// <summary>
    /// How many tokens of each sequence are in the cache, the new one not counted, (sequences, 1), Int32: from 0 to capacity - 1. Read on
    /// the device, and not changed.
    /// </summary>
    public MatrixView Lengths { get; init; }

    /// <summary>Result, shaped as the queries, activation type; not the same memory as K or V.</summary>
    public MatrixView Y { get; init; }

    /// <summary>The columns of a head.</summary>
    internal int HeadSize => Q.Columns / Heads;

    /// <summary>The scale that is meant.</summary>
    internal float ChosenScale => Scale ?? 1 / MathF.Sqrt(HeadSize);

    /// <summary>The tokens that the cache of a sequence has room for.</summary>
    internal long Capacity => KeyCache.Rows / Q.Rows;

    /// <summary>That of full caches: only the device knows how much is in them.</summary>
    internal OperationWork Work => OperationWork.Of(Q, K, V, KeyCache, ValueCache, Lengths, Y) with
    {
        Products = 4.0 * KeyCache.Rows * Q.Columns,
        Arithmetic = 3.0 * KeyCache.Rows * Heads,
        Special = (double)KeyCache.Rows * Heads,
    };
}

public abstract partial class Backend
{
    /// <summary>
    /// One step of <see cref="AttentionForward"/>: attention of one new token of each sequence to those in its cache and to itself; the cache gets
    /// its key and value.
    /// </summary>
    /// <exception cref="ShapeException">A shape or type disagrees with another; the message names both.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A length is negative, or the cache has no room for one more token.</exception>
    public void AttentionDecode(in AttentionDecodeArgs args)
    {
        const string Operation = nameof(AttentionDecode);
        CheckAttentionInputs(Operation, args.Q, args.K, args.V, args.Y, args.Heads, args.Scale);
        if (args.Q.Rows == 0)
        {
            ShapeException.Throw(Operation, $"q is {args.Q}, but must have a row for each sequence, at least one");
        }

        Check.Given(Operation, "key cache", args.KeyCache);
        Check.Given(Operation, "value cache", args.ValueCache);
        Check.Given(Operation, "lengths", args.Lengths);
        Check.Type(Operation, "key cache", args.KeyCache, ActivationType);
        Check.Same(Operation, "value cache", args.ValueCache, "key cache", args.KeyCache);
        Check.Apart(Operation, "value cache", args.ValueCache, "key cache", args.KeyCache);
        Check.Type(Operation, "lengths", args.Lengths, DataType.Int32);
        Check.Shape(Operation, "lengths", args.Lengths, args.Q.Rows, 1);
        if (args.KeyCache.Columns != args.Q.Columns || args.KeyCache.Rows % args.Q.Rows != 0 || args.KeyCache.Rows == 0)
        {
            ShapeException.Throw(
                Operation,
                $"the key cache is {args.KeyCache}, but must have {args.Q.Columns} columns and as many rows for each of {args.Q.Rows} sequences");
        }

        Trace?.BeginOperation(Operation, args.Work);
        AttentionDecodeCore(args);
        Trace?.EndOperation();
    }

    /// <summary>The operation, with shapes that are known to fit.</summary>
    protected abstract void AttentionDecodeCore(in AttentionDecodeArgs args);
}
