using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Which measured ceiling a row is held against; that of special functions too, where it has such.</summary>
internal enum BenchCeiling
{
    None,
    Copy,
    Read,

    /// <summary>Tensor cores, where operands have 16 bits.</summary>
    Tensor,
}

/// <summary>An operation that can be measured: adding one is adding a row to <see cref="All"/>.</summary>
/// <param name="Name">Its name on the command line.</param>
/// <param name="ShapeHelp">What the numbers of its shape mean, as in "BATCHxCHANNELSxLENGTH".</param>
/// <param name="DefaultShape">The shape where none is given.</param>
/// <param name="Create">Makes the operands of a row on a backend.</param>
internal sealed record BenchOperation(string Name, string ShapeHelp, string DefaultShape, Func<BenchContext, BenchRow, Benchmark> Create)
{
    /// <summary>Which values --variant can have. Empty where there is but one way.</summary>
    public IReadOnlyList<string> Variants { get; init; } = [];

    /// <summary>The variant where none is given; null to leave it to the backend.</summary>
    public string? DefaultVariant { get; init; }

    /// <summary>Whether it takes --model.</summary>
    public bool TakesModel { get; init; }

    /// <summary>All operations.</summary>
    public static IReadOnlyList<BenchOperation> All { get; } =
    [
        new("scan", "BATCHxCHANNELSxLENGTH", "8x2048x2048", (context, row) => new ScanBenchmark(context, row, update: false)),
        new("state-update", "BATCHxCHANNELS", "64x5120", (context, row) => new ScanBenchmark(context, row, update: true)),
        new("conv1d", "BATCHxCHANNELSxLENGTH", "8x2048x2048", (context, row) => new ConvBenchmark(context, row, update: false)),
        new("conv1d-update", "BATCHxCHANNELS", "64x5120", (context, row) => new ConvBenchmark(context, row, update: true)),
        new("add-rms-norm", "ROWSxCOLUMNS", "16384x2560", (context, row) => new NormBenchmark(context, row)),
        new("linear", "ROWSxINPUTSxOUTPUTS", "16384x2560x10240", (context, row) => new LinearBenchmark(context, row))
        {
            Variants = ["cublaslt", "own", "int8", "int4", "int8-float", "int4-float", "int8-dequantized", "int4-dequantized"],
        },
        new("embedding", "TOKENSxCHANNELS", "16384x2560", (context, row) => new EmbeddingBenchmark(context, row)),
        new("scan-backward", "BATCHxCHANNELSxLENGTH", "8x2048x2048", (context, row) => new ScanBackwardBenchmark(context, row)),
        new("conv1d-backward", "BATCHxCHANNELSxLENGTH", "8x2048x2048", (context, row) => new ConvBackwardBenchmark(context, row)),
        new("add-rms-norm-backward", "ROWSxCOLUMNS", "16384x2560", (context, row) => new NormBackwardBenchmark(context, row)),
        new("attention", "BATCHxHEADSxHEADSIZExLENGTH", "8x32x64x2048", (context, row) => new AttentionBenchmark(context, row))
        {
            Variants = ["mma", "mma 64", "mma 128", "wgmma"],
        },
        new("attention-backward", "BATCHxHEADSxHEADSIZExLENGTH", "8x32x64x2048", (context, row) => new AttentionBackwardBenchmark(context, row))
        {
            Variants = ["mma", "wgmma"],
        },
        new("attention-decode", "BATCHxHEADSxHEADSIZExLENGTH", "64x32x64x2048", (context, row) => new AttentionDecodeBenchmark(context, row)),
        new("gradients", "BATCHxLENGTH", "8x2048", (context, row) => new GradientsBenchmark(context, row))
        {
            TakesModel = true,
            Variants = [GradientsBenchmark.RecomputesScan, GradientsBenchmark.RecomputesBlocks, GradientsBenchmark.Steps],
        },
        new("copy", "MEGABYTES", "1024", (context, row) => new CopyBenchmark(context, row)),
        new("read", "MEGABYTES", "1024", (context, row) => new ReadBenchmark(context, row)),
        new("prefill", "BATCHxLENGTH", "8x2048", (context, row) => new PrefillBenchmark(context, row))
        {
            TakesModel = true,
            Variants = ["int8", "int4"],
        },
        new("score", "BATCHxLENGTH", "8x2048", (context, row) => new ScoreBenchmark(context, row)) { TakesModel = true },
        new("decode", "BATCH", "1", (context, row) => new DecodeBenchmark(context, row))
        {
            TakesModel = true,
            Variants = [DecodeBenchmark.Draws, "int8", "int4"],
        },
        new("decode-after", "BATCHxCONTEXT", "1x1000000", (context, row) => new DecodeBenchmark(context, row)) { TakesModel = true },
        new("first-token", "LENGTH", "2048", (context, row) => new FirstTokenBenchmark(context, row))
        {
            TakesModel = true,
            Variants = [FirstTokenBenchmark.Cached],
        },
        new("speculate", "DRAFTTOKENS", "4", (context, row) => new SpeculationBenchmark(context, row)) { TakesModel = true },
        new("start", "LENGTH", "128", (context, row) => new StartBenchmark(context, row)) { TakesModel = true, Variants = ["cold", "warm"], DefaultVariant = "cold" },
    ];

    /// <summary>The operation of a name.</summary>
    public static BenchOperation? Named(string name) => All.FirstOrDefault(operation => operation.Name == name);
}

/// <summary>One row with its operands on the device, ready to be run.</summary>
internal abstract class Benchmark : IDisposable
{
    /// <summary>What must be moved at least: each operand read or written once.</summary>
    public abstract long Bytes { get; }

    /// <summary>Floating-point operations by the formula; an exponential, a square root or a division is one.</summary>
    public abstract double Operations { get; }

    /// <summary>Those of the operations that special-function units do: exponentials, logarithms, roots and divisions.</summary>
    public virtual double Special => 0;

    /// <summary>What throughput counts: batch x channels x length, or tokens of a whole model.</summary>
    public abstract long Elements { get; }

    /// <summary>The ceiling that is the row's limit, or none that is known.</summary>
    public virtual BenchCeiling Ceiling => BenchCeiling.Copy;

    /// <summary>How many sets of operands there are: runs take them in turn, so that none finds its operands in the cache.</summary>
    public virtual int Copies => 1;

    /// <summary>Whether a run ends with its result on the host and is timed by the host's clock; else it is put into the stream and timed by events.</summary>
    public virtual bool TimedByHost => false;

    /// <summary>What a run took where it cannot be measured from outside; null elsewhere.</summary>
    public virtual double? OwnMilliseconds => null;

    /// <summary>The runs to make where --runs does not say; 0 to fill the usual time.</summary>
    public virtual int Runs => 0;

    /// <summary>Runs once on a set of operands.</summary>
    public abstract void Run(int copy);

    public abstract void Dispose();
}

/// <summary>Operations that read the same operands as others of their kind: their buffers, filled with random values on the device.</summary>
internal abstract class OperandBenchmark(BenchContext context) : Benchmark
{
    private readonly List<DeviceBuffer> _buffers = [];

    /// <summary>What is measured on.</summary>
    protected Backend Backend { get; } = context.Backend;

    public override int Copies => context.CopiesFor(Bytes);

    public override void Dispose() => _buffers.ForEach(buffer => buffer.Dispose());

    /// <summary>A matrix of random values.</summary>
    protected MatrixView Random(DataType type, long rows, int columns, float mean = 0, float deviation = 1)
    {
        MatrixView view = Empty(type, rows, columns);
        context.Fill(view, mean, deviation);
        return view;
    }

    /// <summary>A matrix of zeros, to be written.</summary>
    protected MatrixView Empty(DataType type, long rows, int columns)
    {
        _buffers.Add(Backend.Allocate(rows * columns * type.Size()));
        return _buffers[^1].Matrix(type, rows, columns);
    }

    /// <summary>A matrix of given values.</summary>
    protected MatrixView Given(float[] values, int rows)
    {
        MatrixView view = Empty(DataType.Float32, rows, values.Length / rows);
        Backend.Upload<float>(values, view);
        return view;
    }
}
