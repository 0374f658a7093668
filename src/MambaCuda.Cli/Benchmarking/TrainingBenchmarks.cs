using MambaCuda.Kernels;
using MambaCuda.Training;

namespace MambaCuda.Cli;

/// <summary>All gradients of the scan with all options on, from the checkpoints of a forward pass, and y written again.</summary>
internal sealed class ScanBackwardBenchmark : ScanOperandsBenchmark
{
    private readonly SelectiveScanBackwardArgs[] _args;

    public ScanBackwardBenchmark(BenchContext context, BenchRow row) : base(context, row, row.Shape[2])
    {
        DataType type = Backend.ActivationType;
        long checkpoints = Sequences.CheckpointCount(Backend.ScanCheckpointSteps) * StateSize;
        _args = [.. Enumerable.Range(0, Copies).Select(_ =>
        {
            SelectiveScanForwardArgs forward = Operands() with { Checkpoints = Empty(DataType.Float32, checkpoints, Channels) };
            Backend.SelectiveScanForward(forward);
            return new SelectiveScanBackwardArgs
            {
                Forward = forward,
                GradY = Random(type, Tokens, Channels),
                GradU = Empty(type, Tokens, Channels),
                GradDelta = Empty(type, Tokens, Channels),
                GradA = Empty(DataType.Float32, StateSize, Channels),
                GradB = Empty(type, Tokens, StateSize),
                GradC = Empty(type, Tokens, StateSize),
                GradD = Empty(DataType.Float32, 1, Channels),
                GradZ = Empty(type, Tokens, Channels),
                GradDeltaBias = Empty(DataType.Float32, 1, Channels),
            };
        })];
    }

    // u, delta, z, the gradient of y in; y and three gradients out; B and C and theirs; the checkpoints.
    public override long Bytes => ((8 * Elements) + (4 * Tokens * StateSize)) * Backend.ActivationType.Size()
        + (Elements / Backend.ScanCheckpointSteps * StateSize * sizeof(float));

    // A state: 7 of the forward pass; back: dh (2), gB and gC (2), their sums over channels (2), through B (2), decay and exp (2), dh decay,
    // that times h', gA (2), through A (2). A channel: the forward pass's 11, and about 20 of slopes and products.
    public override double Operations => Elements * ((23.0 * StateSize) + 31);

    public override double Special => Elements * (StateSize + 5.0);

    public override void Run(int copy) => Backend.SelectiveScanBackward(_args[copy]);
}

/// <summary>All gradients of the causal convolution of width 4 with bias and SiLU.</summary>
internal sealed class ConvBackwardBenchmark : OperandBenchmark
{
    private const int Width = 4;

    private readonly CausalConv1dBackwardArgs[] _args;
    private readonly long _tokens;
    private readonly int _channels;

    public ConvBackwardBenchmark(BenchContext context, BenchRow row) : base(context)
    {
        int batch = checked((int)row.Shape[0]);
        _channels = checked((int)row.Shape[1]);
        _tokens = batch * row.Shape[2];
        DataType type = Backend.ActivationType;
        MatrixView weight = Random(DataType.Float32, Width, _channels, deviation: 0.3f), bias = Random(DataType.Float32, 1, _channels);
        MatrixView gradWeight = Empty(DataType.Float32, Width, _channels), gradBias = Empty(DataType.Float32, 1, _channels);
        _args = [.. Enumerable.Range(0, Copies).Select(_ => new CausalConv1dBackwardArgs
        {
            Forward = new CausalConv1dForwardArgs
            {
                X = Random(type, _tokens, _channels),
                Weight = weight,
                Bias = bias,
                Sequences = SequenceLayout.Uniform(batch, row.Shape[2]),
                Silu = true,
            },
            GradY = Random(type, _tokens, _channels),
            GradX = Empty(type, _tokens, _channels),
            GradWeight = gradWeight,
            GradBias = gradBias,
        })];
    }

    public override long Elements => _tokens * _channels;

    public override long Bytes => 3 * Elements * Backend.ActivationType.Size();

    public override double Operations => Elements * ((6.0 * Width) + 10);

    public override void Run(int copy) => Backend.CausalConv1dBackward(_args[copy]);
}

/// <summary>The gradients of the residual sum and its norm.</summary>
internal sealed class NormBackwardBenchmark : OperandBenchmark
{
    private readonly AddRmsNormBackwardArgs[] _args;
    private readonly long _rows;
    private readonly int _columns;

    public NormBackwardBenchmark(BenchContext context, BenchRow row) : base(context)
    {
        _rows = row.Shape[0];
        _columns = checked((int)row.Shape[1]);
        MatrixView weight = Random(DataType.Float32, 1, _columns, mean: 1, deviation: 0.1f);
        MatrixView gradWeight = Empty(DataType.Float32, 1, _columns);
        _args = [.. Enumerable.Range(0, Copies).Select(_ => new AddRmsNormBackwardArgs
        {
            Residual = Random(DataType.Float32, _rows, _columns),
            Weight = weight,
            Epsilon = 1e-5f,
            GradY = Random(Backend.ActivationType, _rows, _columns),
            GradResidual = Random(DataType.Float32, _rows, _columns),
            GradX = Empty(Backend.ActivationType, _rows, _columns),
            GradWeight = gradWeight,
        })];
    }

    public override long Elements => _rows * _columns;

    public override long Bytes => Elements * ((2 * Backend.ActivationType.Size()) + (3 * sizeof(float)));

    public override double Operations => Elements * 10.0;

    public override void Run(int copy) => Backend.AddRmsNormBackward(_args[copy]);
}

/// <summary>
/// A whole model's forward pass, loss and all gradients of a batch of random tokens. Projections are held in the activation type alone,
/// since nothing steps them, but for <see cref="Steps"/>, which has float32 masters; gradients are float32.
/// </summary>
internal sealed class GradientsBenchmark : Benchmark
{
    /// <summary>The variant that stores the residual stream alone.</summary>
    public const string RecomputesBlocks = "recompute-blocks";

    /// <summary>The variant that stores everything but the scan.</summary>
    public const string RecomputesScan = "recompute-scan";

    /// <summary>The variant that also clips the gradients and takes AdamW's step.</summary>
    public const string Steps = "step";

    private const double LearningRate = 1e-5;

    private readonly TrainableModel _model;
    private readonly ForwardTape _tape;
    private readonly SequenceLayout _sequences;
    private readonly int[] _tokens;
    private readonly AdamWOptimizer? _optimizer;

    public GradientsBenchmark(BenchContext context, BenchRow row)
    {
        int batch = checked((int)row.Shape[0]), length = checked((int)row.Shape[1]);
        MambaConfig config = ModelSizes.Config(row.Model!);
        Recomputation recomputation = row.Variant switch
        {
            RecomputesBlocks => Recomputation.Block,
            RecomputesScan => Recomputation.Scan,
            _ => Recomputation.Mixer,
        };
        bool steps = row.Variant == Steps;
        _model = new TrainableModel(config, context.Weights(row.Model!).Tensors, context.Backend, recomputation, masterWeights: steps);
        _optimizer = steps ? new AdamWOptimizer(_model) : null;
        _tape = _model.CreateTape();
        _sequences = SequenceLayout.Uniform(batch, length);
        Random random = new(1);
        _tokens = [.. Enumerable.Range(0, batch * length).Select(_ => random.Next(config.VocabularySize))];
    }

    public override long Elements => _tokens.Length;

    public override long Bytes => 0;

    public override double Operations =>
        6.0 * (ModelSizes.ParametersATokenMeets(_model.Config) + ((double)_model.Config.VocabularySize * _model.Config.HiddenSize)) * Elements;

    public override BenchCeiling Ceiling => BenchCeiling.Tensor;

    public override bool TimedByHost => true;

    public override void Run(int copy)
    {
        if (_optimizer is null)
        {
            _model.Gradients.Clear();
        }

        _model.Forward(_tokens, _sequences, _tape);
        _model.Loss(_tape, _tokens, gradScale: 1f / _tokens.Length);
        _model.Backward(_tape);
        _ = _optimizer?.Step(LearningRate);
        _model.Backend.Synchronize();
    }

    public override void Dispose()
    {
        _optimizer?.Dispose();
        _tape.Dispose();
        _model.Dispose();
    }
}
