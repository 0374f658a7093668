using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Shapes of attention: batch, heads, head size, length.</summary>
internal abstract class AttentionOperandsBenchmark(BenchContext context, BenchRow row) : OperandBenchmark(context)
{
    protected int Batch { get; } = checked((int)row.Shape[0]);

    protected int Heads { get; } = checked((int)row.Shape[1]);

    protected int HeadSize { get; } = checked((int)row.Shape[2]);

    protected long Length { get; } = row.Shape[3];

    protected int Columns => checked(Heads * HeadSize);

    protected DataType Type => Backend.ActivationType;

    /// <summary>The first of the ways there are whose name begins so; null where none is asked for.</summary>
    protected static AttentionVariant? VariantNamed(string? name, IReadOnlyList<AttentionVariant> all)
    {
        if (name is null)
        {
            return null;
        }

        AttentionVariant[] named = [.. all.Where(variant => variant.ToString().StartsWith(name, StringComparison.Ordinal))];
        string there = all.Count == 0 ? "the CPU's own code" : string.Join(", ", all);
        return named.Length > 0 ? named[0] : throw new NotSupportedException($"--variant {name}: here there is only {there}.");
    }
}

/// <summary>Attention of whole sequences: its products are over half of a square, which is what the field counts.</summary>
internal abstract class CausalAttentionBenchmark : AttentionOperandsBenchmark
{
    private readonly SequenceLayout _sequences;

    protected CausalAttentionBenchmark(BenchContext context, BenchRow row) : base(context, row) =>
        _sequences = SequenceLayout.Uniform(Batch, Length);

    protected long Tokens => Batch * Length;

    public override long Elements => Tokens * Columns;

    public override BenchCeiling Ceiling => BenchCeiling.Tensor;

    /// <summary>Matrices of elements that are read or written, beside the log-sum-exp of each token and head.</summary>
    protected long BytesOf(int matrices) => (matrices * Elements * Type.Size()) + (Tokens * Heads * sizeof(float));

    protected AttentionForwardArgs NewForward() => new()
    {
        Q = Random(Type, Tokens, Columns),
        K = Random(Type, Tokens, Columns),
        V = Random(Type, Tokens, Columns),
        Heads = Heads,
        Sequences = _sequences,
        Y = Empty(Type, Tokens, Columns),
        LogSumExp = Empty(DataType.Float32, Heads, checked((int)Tokens)),
    };
}

/// <summary>Causal attention, and the log-sum-exp that its backward pass needs.</summary>
internal sealed class AttentionBenchmark : CausalAttentionBenchmark
{
    private readonly AttentionForwardArgs[] _args;
    private readonly AttentionVariant? _variant;

    public AttentionBenchmark(BenchContext context, BenchRow row) : base(context, row)
    {
        _args = [.. Enumerable.Range(0, Copies).Select(_ => NewForward())];
        _variant = VariantNamed(row.Variant, Backend is CudaBackend cuda ? cuda.AttentionVariants(_args[0]) : []);
    }

    public override long Bytes => BytesOf(matrices: 4);

    // Two products; an exponential is not counted.
    public override double Operations => 2.0 * Elements * Length;

    public override void Run(int copy)
    {
        if (_variant is { } variant)
        {
            ((CudaBackend)Backend).AttentionForward(_args[copy], variant);
        }
        else
        {
            Backend.AttentionForward(_args[copy]);
        }
    }
}

/// <summary>The gradients of causal attention.</summary>
internal sealed class AttentionBackwardBenchmark : CausalAttentionBenchmark
{
    private readonly AttentionBackwardArgs[] _args;
    private readonly AttentionVariant? _variant;

    public AttentionBackwardBenchmark(BenchContext context, BenchRow row) : base(context, row)
    {
        _args = [.. Enumerable.Range(0, Copies).Select(_ =>
        {
            AttentionForwardArgs forward = NewForward();
            Backend.AttentionForward(forward);
            return new AttentionBackwardArgs
            {
                Forward = forward,
                GradY = Random(Type, Tokens, Columns),
                GradQ = Empty(Type, Tokens, Columns),
                GradK = Empty(Type, Tokens, Columns),
                GradV = Empty(Type, Tokens, Columns),
            };
        })];
        _variant = VariantNamed(row.Variant, Backend is CudaBackend cuda ? cuda.AttentionVariants(_args[0]) : []);
    }

    public override long Bytes => BytesOf(matrices: 8);

    // Five products, however often scores are made.
    public override double Operations => 5.0 * Elements * Length;

    public override void Run(int copy)
    {
        if (_variant is { } variant)
        {
            ((CudaBackend)Backend).AttentionBackward(_args[copy], variant);
        }
        else
        {
            Backend.AttentionBackward(_args[copy]);
        }
    }
}

/// <summary>One new token of each sequence against a cache that it fills: length counts it.</summary>
internal sealed class AttentionDecodeBenchmark : AttentionOperandsBenchmark
{
    private readonly AttentionDecodeArgs[] _args;

    public AttentionDecodeBenchmark(BenchContext context, BenchRow row) : base(context, row)
    {
        MatrixView lengths = Empty(DataType.Int32, Batch, 1);
        Backend.Upload<int>([.. Enumerable.Repeat(checked((int)Length) - 1, Batch)], lengths);
        _args = [.. Enumerable.Range(0, Copies).Select(_ => new AttentionDecodeArgs
        {
            Q = Random(Type, Batch, Columns),
            K = Random(Type, Batch, Columns),
            V = Random(Type, Batch, Columns),
            Heads = Heads,
            KeyCache = Random(Type, Batch * Length, Columns),
            ValueCache = Random(Type, Batch * Length, Columns),
            Lengths = lengths,
            Y = Empty(Type, Batch, Columns),
        })];
    }

    public override long Elements => (long)Batch * Columns;

    public override long Bytes => Elements * Type.Size() * ((2 * Length) + 4);

    public override double Operations => 4.0 * Elements * Length;

    public override BenchCeiling Ceiling => BenchCeiling.Read;

    public override void Run(int copy) => Backend.AttentionDecode(_args[copy]);
}
