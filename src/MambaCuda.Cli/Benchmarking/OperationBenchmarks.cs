using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Operands of the scan with all options on but states: delta bias and softplus, D, gate.</summary>
internal abstract class ScanOperandsBenchmark : OperandBenchmark
{
    private readonly MatrixView _a, _d, _bias;

    protected ScanOperandsBenchmark(BenchContext context, BenchRow row, long length) : base(context)
    {
        Batch = checked((int)row.Shape[0]);
        Channels = checked((int)row.Shape[1]);
        StateSize = row.StateSize;
        Sequences = SequenceLayout.Uniform(Batch, length);
        _a = Given([.. Enumerable.Range(0, StateSize * Channels).Select(i => -1f - (i / Channels))], StateSize);
        _d = Random(DataType.Float32, 1, Channels);

        // As training starts from: steps of 0.001 to 0.1.
        _bias = Random(DataType.Float32, 1, Channels, mean: -4.6f, deviation: 1.2f);
    }

    public override long Elements => Tokens * Channels;

    protected int Batch { get; }

    protected int Channels { get; }

    protected int StateSize { get; }

    protected SequenceLayout Sequences { get; }

    protected long Tokens => Sequences.TotalLength;

    /// <summary>One set of operands, beside the parameters that all sets share.</summary>
    protected SelectiveScanForwardArgs Operands() => new()
    {
        U = Random(Backend.ActivationType, Tokens, Channels),
        Delta = Random(Backend.ActivationType, Tokens, Channels, deviation: 0.5f),
        A = _a,
        B = Random(Backend.ActivationType, Tokens, StateSize),
        C = Random(Backend.ActivationType, Tokens, StateSize),
        D = _d,
        Z = Random(Backend.ActivationType, Tokens, Channels),
        DeltaBias = _bias,
        DeltaSoftplus = true,
        Sequences = Sequences,
        Y = Empty(Backend.ActivationType, Tokens, Channels),
    };
}

/// <summary>The scan with all options on, or its one-token update: delta bias and softplus, D, gate, and the state written (and read, by the update).</summary>
internal sealed class ScanBenchmark : ScanOperandsBenchmark
{
    private readonly SelectiveScanForwardArgs[] _args;
    private readonly bool _update;

    public ScanBenchmark(BenchContext context, BenchRow row, bool update) : base(context, row, update ? 1 : row.Shape[2])
    {
        _update = update;
        _args = [.. Enumerable.Range(0, Copies).Select(_ =>
        {
            MatrixView state = Empty(DataType.Float32, (long)Batch * StateSize, Channels);
            return Operands() with { InitialState = update ? state : default, FinalState = state };
        })];
    }

    public override long Bytes =>
        ((4 * Elements) + (2 * Tokens * StateSize)) * Backend.ActivationType.Size()
        + (((_update ? 2L : 1L) * Batch * StateSize * Channels * sizeof(float))
        + ((StateSize + 2L) * Channels * sizeof(float)));

    // A state: delta A, exp, h times it, plus B delta u, plus C h. A channel: delta u, D u, softplus (add, exp, add, log), gate (exp, add, division, product).
    public override double Operations => Elements * ((7.0 * StateSize) + 11);

    public override double Special => Elements * (StateSize + 4.0);

    public override void Run(int copy)
    {
        if (_update)
        {
            Backend.SelectiveStateUpdate(_args[copy]);
        }
        else
        {
            Backend.SelectiveScanForward(_args[copy]);
        }
    }
}

/// <summary>The causal convolution of width 4 with bias and SiLU, or its one-token update.</summary>
internal sealed class ConvBenchmark : OperandBenchmark
{
    private const int Width = 4;

    private readonly CausalConv1dForwardArgs[] _args;
    private readonly bool _update;
    private readonly long _tokens;
    private readonly int _batch, _channels;

    public ConvBenchmark(BenchContext context, BenchRow row, bool update) : base(context)
    {
        _update = update;
        _batch = checked((int)row.Shape[0]);
        _channels = checked((int)row.Shape[1]);
        _tokens = _batch * (update ? 1 : row.Shape[2]);
        SequenceLayout sequences = SequenceLayout.Uniform(_batch, _tokens / _batch);
        MatrixView weight = Random(DataType.Float32, Width, _channels, deviation: 0.3f), bias = Random(DataType.Float32, 1, _channels);
        _args = new CausalConv1dForwardArgs[Copies];
        for (int i = 0; i < _args.Length; i++)
        {
            MatrixView state = update ? Empty(DataType.Float32, (long)_batch * (Width - 1), _channels) : default;
            _args[i] = new CausalConv1dForwardArgs
            {
                X = Random(Backend.ActivationType, _tokens, _channels),
                Weight = weight,
                Bias = bias,
                Sequences = sequences,
                InitialState = state,
                FinalState = state,
                Silu = true,
                Y = Empty(Backend.ActivationType, _tokens, _channels),
            };
        }
    }

    public override long Elements => _tokens * _channels;

    public override long Bytes => (2 * Elements * Backend.ActivationType.Size())
        + ((Width + 1L) * _channels * sizeof(float)) + (_update ? 2L * _batch * (Width - 1) * _channels * sizeof(float) : 0);

    public override double Operations => Elements * ((2.0 * Width) + 4);

    public override void Run(int copy)
    {
        if (_update)
        {
            Backend.CausalConv1dUpdate(_args[copy]);
        }
        else
        {
            Backend.CausalConv1dForward(_args[copy]);
        }
    }
}

/// <summary>The residual sum and its norm; the residual is float32, read and written.</summary>
internal sealed class NormBenchmark : OperandBenchmark
{
    private readonly AddRmsNormForwardArgs[] _args;
    private readonly long _rows;
    private readonly int _columns;

    public NormBenchmark(BenchContext context, BenchRow row) : base(context)
    {
        _rows = row.Shape[0];
        _columns = checked((int)row.Shape[1]);
        MatrixView weight = Random(DataType.Float32, 1, _columns, mean: 1, deviation: 0.1f);
        _args = [.. Enumerable.Range(0, Copies).Select(_ => new AddRmsNormForwardArgs
        {
            X = Random(Backend.ActivationType, _rows, _columns, deviation: 1e-3f),
            Residual = Random(DataType.Float32, _rows, _columns),
            Weight = weight,
            Epsilon = 1e-5f,
            Y = Empty(Backend.ActivationType, _rows, _columns),
        })];
    }

    public override long Elements => _rows * _columns;

    public override long Bytes => (Elements * ((2 * Backend.ActivationType.Size()) + (2 * sizeof(float)))) + (_columns * sizeof(float));

    public override double Operations => Elements * 5.0;

    public override void Run(int copy) => Backend.AddRmsNormForward(_args[copy]);
}

/// <summary>
/// A linear layer: few rows are limited by reading the weight, many by arithmetic. The weight has the activation type, or is quantized in
/// groups of the usual size, and then computed with as the backend chooses, by float arithmetic, or made as floats first.
/// </summary>
internal sealed class LinearBenchmark : OperandBenchmark
{
    private const int FewRows = 8;

    private readonly LinearForwardArgs[] _args;
    private readonly long _rows;
    private readonly int _inputs, _outputs;
    private readonly QuantizedLayout? _quantized;
    private readonly string? _way;
    private LinearVariant? _variant;

    public LinearBenchmark(BenchContext context, BenchRow row) : base(context)
    {
        _rows = row.Shape[0];
        _inputs = checked((int)row.Shape[1]);
        _outputs = checked((int)row.Shape[2]);
        DataType type = Backend.ActivationType;
        string[] words = row.Variant?.Split('-') ?? [];
        if (words is ["int8" or "int4", ..])
        {
            QuantizedType numbers = words[0] == "int8" ? QuantizedType.Int8 : QuantizedType.Int4;
            _quantized = new QuantizedLayout(numbers, _inputs, QuantizationConfig.UsualGroupSize(numbers));
            _way = words.Length == 1 ? null : words[1] == "float" ? "vector" : words[1];
        }

        _args = [.. Enumerable.Range(0, Copies).Select(_ => new LinearForwardArgs
        {
            X = Random(type, _rows, _inputs),
            Weight = Weight(),
            Y = Empty(type, _rows, _outputs),
            WeightIsAtRest = true,
        })];
    }

    public override long Elements => _rows * _outputs;

    public override long Bytes => (((_rows * _inputs) + (_rows * _outputs)) * Backend.ActivationType.Size()) + (_outputs * RowBytes);

    public override double Operations => 2.0 * _rows * _inputs * _outputs;

    private long RowBytes => _quantized is { } layout
        ? layout.RowBytes + (layout.Groups * (long)sizeof(ushort))
        : (long)_inputs * Backend.ActivationType.Size();

    public override BenchCeiling Ceiling => _rows <= FewRows ? BenchCeiling.Read : BenchCeiling.Tensor;

    public override void Run(int copy)
    {
        if (_way is null)
        {
            Backend.LinearForward(_args[copy]);
            return;
        }

        CudaBackend cuda = Backend as CudaBackend
            ?? throw new CudaUnavailableException("Ways of quantized layers are chosen on a card; there is none, or --device cpu was given.");
        if (_variant is null)
        {
            LinearVariant[] ways = [.. cuda.LinearVariants(_args[copy]).Where(each => each.ToString() == _way)];
            _variant = ways is [LinearVariant way]
                ? way
                : throw new NotSupportedException($"The layer cannot be computed so ({_way}): it has too many rows, or rows that are not aligned.");
        }

        cuda.LinearForward(_args[copy], _variant.Value);
    }

    private WeightView Weight()
    {
        if (_quantized is not { } layout)
        {
            return Random(Backend.ActivationType, _outputs, _inputs, deviation: 0.02f);
        }

        // Bytes of any value; what rows are filled up with does not matter to the time.
        MatrixView values = layout.Type == QuantizedType.Int8
            ? Random(layout.StoredType, _outputs, layout.RowBytes, deviation: 50)
            : Random(layout.StoredType, _outputs, layout.RowBytes, mean: 128, deviation: 60);
        return new QuantizedView(values, Random(DataType.BFloat16, _outputs, layout.Groups, deviation: 1e-3f), layout);
    }
}

/// <summary>Rows of a table of 50,280, at random, as float32.</summary>
internal sealed class EmbeddingBenchmark : OperandBenchmark
{
    private const int Vocabulary = 50_280;

    private readonly EmbeddingForwardArgs[] _args;
    private readonly long _tokens;
    private readonly int _channels;

    public EmbeddingBenchmark(BenchContext context, BenchRow row) : base(context)
    {
        _tokens = row.Shape[0];
        _channels = checked((int)row.Shape[1]);
        Random random = new(1);
        int[] ids = new int[_tokens];
        for (int i = 0; i < ids.Length; i++)
        {
            ids[i] = random.Next(Vocabulary);
        }

        MatrixView tokens = Empty(DataType.Int32, _tokens, 1);
        Backend.Upload<int>(ids, tokens);
        _args = [.. Enumerable.Range(0, Copies).Select(_ => new EmbeddingForwardArgs
        {
            TokenIds = tokens,
            Weight = Random(Backend.ActivationType, Vocabulary, _channels),
            Output = Empty(DataType.Float32, _tokens, _channels),
        })];
    }

    public override long Elements => _tokens * _channels;

    public override long Bytes => (Elements * (Backend.ActivationType.Size() + sizeof(float))) + (_tokens * sizeof(int));

    public override double Operations => 0;

    public override void Run(int copy) => Backend.EmbeddingForward(_args[copy]);
}

/// <summary>A copy on the device: by the driver, and on CUDA by a kernel of the same aim, whichever is faster.</summary>
internal sealed class CopyBenchmark : OperandBenchmark
{
    private readonly MatrixView _source, _destination;
    private readonly BandwidthProbe? _probe;

    public CopyBenchmark(BenchContext context, BenchRow row) : base(context)
    {
        const int RowBytes = 1 << 20;
        _source = Empty(DataType.UInt8, row.Shape[0], RowBytes);
        _destination = Empty(DataType.UInt8, row.Shape[0], RowBytes);
        _probe = Backend is CudaBackend cuda ? new BandwidthProbe(cuda, Elements) : null;
    }

    public override long Elements => _source.Rows * _source.Columns;

    public override long Bytes => 2 * Elements;

    public override double Operations => 0;

    public override int Copies => 1;

    public override void Run(int copy)
    {
        if (_probe is not null)
        {
            _probe.Copy();
        }
        else
        {
            Backend.Copy(_source, _destination);
        }
    }

    public override void Dispose()
    {
        _probe?.Dispose();
        base.Dispose();
    }
}

/// <summary>Reading memory and nothing else.</summary>
internal sealed class ReadBenchmark(BenchContext context, BenchRow row) : Benchmark
{
    private readonly BandwidthProbe _probe = new(
        context.Backend as CudaBackend ?? throw new CudaUnavailableException("bench read measures a card; there is none, or --device cpu was given."),
        row.Shape[0] << 20);

    public override long Elements => Bytes;

    public override long Bytes => row.Shape[0] << 20;

    public override double Operations => 0;

    public override BenchCeiling Ceiling => BenchCeiling.Read;

    public override void Run(int copy) => _probe.Read();

    public override void Dispose() => _probe.Dispose();
}
