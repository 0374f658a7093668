using System.Diagnostics;
using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>A whole forward pass: prompts from their start to the logits of their last tokens on the host.</summary>
internal sealed class PrefillBenchmark : Benchmark
{
    private readonly MambaModel _model;
    private readonly MambaState _state;
    private readonly SequenceLayout _sequences;
    private readonly int[] _tokens;
    private readonly float[] _logits;

    public PrefillBenchmark(BenchContext context, BenchRow row)
    {
        int batch = checked((int)row.Shape[0]), length = checked((int)row.Shape[1]);
        MambaConfig config = ModelSizes.Config(row.Model!);
        _model = context.Model(row.Model!, row.Variant);
        _state = _model.CreateState(batch);
        _sequences = SequenceLayout.Uniform(batch, length);
        Random random = new(1);
        _tokens = new int[batch * length];
        for (int i = 0; i < _tokens.Length; i++)
        {
            _tokens[i] = random.Next(config.VocabularySize);
        }

        _logits = new float[batch * config.VocabularySize];
    }

    public override long Elements => _tokens.Length;

    // Beside a quantized head, the embedding is only looked up.
    public override long Bytes => _model.WeightBytes - LookedUpBytes + (2 * _state.BytesPerSlot * _state.SlotCount);

    private long LookedUpBytes => _model.Config.Quantization is null
        ? 0
        : (long)_model.Config.VocabularySize * _model.Config.HiddenSize * _model.WeightType.Size();

    public override double Operations =>
        2.0 * ((ModelSizes.ParametersATokenMeets(_model.Config) * Elements)
        + ((double)_sequences.Count * _model.Config.VocabularySize * _model.Config.HiddenSize));

    public override BenchCeiling Ceiling => BenchCeiling.Tensor;

    public override bool TimedByHost => true;

    public override void Run(int copy) => _model.Forward(_tokens, _sequences, _state, _logits);

    public override void Dispose() => _state.Dispose();
}

/// <summary>What perplexity is made of: how probable each token of some texts was, with all that stands before it, on the host.</summary>
internal sealed class ScoreBenchmark : Benchmark
{
    private readonly MambaModel _model;
    private readonly MambaState _state;
    private readonly SequenceLayout _sequences;
    private readonly int[] _tokens;
    private readonly float[] _logProbabilities;

    public ScoreBenchmark(BenchContext context, BenchRow row)
    {
        int batch = checked((int)row.Shape[0]), length = checked((int)row.Shape[1]);
        _model = context.Model(row.Model!);
        _state = _model.CreateState(batch);
        _sequences = SequenceLayout.Uniform(batch, length);
        Random random = new(1);
        _tokens = [.. Enumerable.Range(0, batch * length).Select(_ => random.Next(_model.Config.VocabularySize))];
        _logProbabilities = new float[_tokens.Length];
    }

    public override long Elements => _tokens.Length;

    public override long Bytes => _model.WeightBytes + (2 * _state.BytesPerSlot * _state.SlotCount);

    public override double Operations => 2.0
        * (ModelSizes.ParametersATokenMeets(_model.Config) + ((double)_model.Config.VocabularySize * _model.Config.HiddenSize)) * Elements;

    public override BenchCeiling Ceiling => BenchCeiling.Tensor;

    public override bool TimedByHost => true;

    public override void Run(int copy) => _model.Score(_tokens, _tokens, _sequences, _state, _logProbabilities);

    public override void Dispose() => _state.Dispose();
}

/// <summary>
/// Generation: a token more for each sequence of a batch, read by the host, as <see cref="DecodeLoop"/> gives them: the most probable one, as
/// the official benchmark has it, or drawn. A run is so many tokens in a row, and its time that of one. Where the row's shape has a second
/// number, sequences have run so many tokens before.
/// </summary>
internal sealed class DecodeBenchmark : Benchmark
{
    /// <summary>Tokens are drawn from the model's distribution.</summary>
    public const string Draws = "drawn";

    private const int TokensInARun = 32;

    private readonly MambaModel _model;
    private readonly MambaState _state;
    private readonly DecodeLoop _loop;
    private double _milliseconds;

    public DecodeBenchmark(BenchContext context, BenchRow row)
    {
        int batch = checked((int)row.Shape[0]);
        _model = context.Model(row.Model!, row.Variant == Draws ? null : row.Variant);
        _state = _model.CreateState(batch);
        int vocabulary = _model.Config.VocabularySize;
        if (row.Shape.Count > 1)
        {
            Run(batch, row.Shape[1], vocabulary);
        }

        SamplingOptions sampling = row.Variant == Draws ? new SamplingOptions() : SamplingOptions.Greedy;
        _loop = new DecodeLoop(
            _state, [.. Enumerable.Range(0, batch).Select(i => new Sampler(sampling with { Seed = (ulong)i }, vocabulary))]);
        _loop.Start([.. Enumerable.Range(0, batch).Select(i => i % vocabulary)]);
    }

    public override long Elements => _state.SlotCount;

    public override long Bytes => _model.WeightBytes + (2 * _state.BytesPerSlot * _state.SlotCount);

    public override double Operations => 2.0 * _state.SlotCount
        * (ModelSizes.ParametersATokenMeets(_model.Config) + ((double)_model.Config.VocabularySize * _model.Config.HiddenSize));

    public override BenchCeiling Ceiling => BenchCeiling.Read;

    public override bool TimedByHost => true;

    public override double? OwnMilliseconds => _milliseconds;

    public override int Runs => 21;

    public override void Run(int copy)
    {
        // The first tokens compile kernels and capture the step; then the device is a step ahead whenever the clock is read.
        for (int i = 0; _milliseconds == 0 && i < TokensInARun; i++)
        {
            _loop.Next();
        }

        long began = Stopwatch.GetTimestamp();
        for (int i = 0; i < TokensInARun; i++)
        {
            _loop.Next();
        }

        _milliseconds = Stopwatch.GetElapsedTime(began).TotalMilliseconds / TokensInARun;
    }

    public override void Dispose()
    {
        _loop.Dispose();
        _state.Dispose();
    }

    /// <summary>Random tokens for each sequence, in pieces whose ids the host can hold.</summary>
    private void Run(int batch, long tokens, int vocabulary)
    {
        const int Piece = 1 << 16;
        Random random = new(1);
        for (long done = 0; done < tokens; done += Piece)
        {
            int count = (int)Math.Min(Piece, tokens - done);
            int[] ids = [.. Enumerable.Range(0, batch * count).Select(_ => random.Next(vocabulary))];
            _model.Forward(ids, SequenceLayout.Uniform(batch, count), _state, []);
        }
    }
}

/// <summary>
/// The start of a process that generates: from opening the device to the first token after a prompt, without loading the weights.
/// Cold: nothing is in the kernel cache. Warm: everything is.
/// </summary>
internal sealed class StartBenchmark : HostTimedBenchmark
{
    private const int ColdRuns = 3;
    private const int WarmRuns = 9;

    private readonly string _folder = Directory.CreateTempSubdirectory("mamba-cuda-start-").FullName;
    private readonly MambaConfig _config;
    private readonly RandomWeights _weights;
    private readonly CudaBackendOptions _options;
    private readonly int _length;
    private readonly bool _cold;

    public StartBenchmark(BenchContext context, BenchRow row)
    {
        if (context.Backend is not CudaBackend)
        {
            throw new CudaUnavailableException("bench start measures the compilation of kernels for a card; there is none, or --device cpu was given.");
        }

        _cold = row.Variant != "warm";
        _length = checked((int)row.Shape[0]);
        _config = ModelSizes.Config(row.Model!);
        _weights = context.Weights(row.Model!);
        _options = new CudaBackendOptions { ActivationType = context.Backend.ActivationType };
        if (!_cold)
        {
            Start("warm");
        }
    }

    public override int Runs => _cold ? ColdRuns : WarmRuns;

    public override void Run(int copy) => Start(_cold ? Guid.NewGuid().ToString("N") : "warm");

    public override void Dispose() => Directory.Delete(_folder, recursive: true);

    private void Start(string cache)
    {
        long began = Stopwatch.GetTimestamp();
        using CudaBackend backend = new(_options with { KernelCache = new KernelCache(Path.Combine(_folder, cache)) });
        TimeSpan opened = Stopwatch.GetElapsedTime(began);
        using MambaModel model = MambaModel.Create(_config, _weights.Tensors, backend);
        using MambaState state = model.CreateState();
        float[] logits = new float[_config.VocabularySize];
        began = Stopwatch.GetTimestamp();
        model.Forward(new int[_length], SequenceLayout.Uniform(1, _length), state, logits);
        model.Forward([1], SequenceLayout.Uniform(1, 1), state, logits);
        Milliseconds = (opened + Stopwatch.GetElapsedTime(began)).TotalMilliseconds;
    }
}
