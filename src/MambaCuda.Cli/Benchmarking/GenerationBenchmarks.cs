using System.Diagnostics;

namespace MambaCuda.Cli;

/// <summary>A text of a whole generator.</summary>
internal abstract class GenerationBenchmark : HostTimedBenchmark
{
    protected GenerationBenchmark(BenchContext context, BenchRow row)
    {
        Model = context.Model(row.Model!);
        State = Model.CreateState();
    }

    public override int Runs => 21;

    protected MambaModel Model { get; }

    protected MambaState State { get; }

    public override void Dispose() => State.Dispose();

    protected int[] RandomIds(int count)
    {
        Random random = new(1);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Model.Config.VocabularySize))];
    }
}

/// <summary>From a request that starts anew to its first token: the prompt's pass, or that it is found in the prompt cache, and the choice.</summary>
internal sealed class FirstTokenBenchmark : GenerationBenchmark
{
    /// <summary>The prompt is in the prompt cache, as a whole.</summary>
    public const string Cached = "cached";

    private readonly PromptCache? _cache;
    private readonly TextGenerator _generator;
    private readonly GenerationRequest _request;

    public FirstTokenBenchmark(BenchContext context, BenchRow row)
        : base(context, row)
    {
        _cache = row.Variant == Cached ? new PromptCache(Model) : null;
        _generator = new TextGenerator(Model, new WithoutText(), new TextGeneratorOptions { Cache = _cache });
        _request = new GenerationRequest { PromptIds = RandomIds(checked((int)row.Shape[0])), MaxTokens = 1, State = State };

        // Compiles kernels, and puts the prompt into the cache.
        for (int i = 0; i < 3; i++)
        {
            FirstAsync().GetAwaiter().GetResult();
        }
    }

    public override void Run(int copy) => FirstAsync().GetAwaiter().GetResult();

    public override void Dispose()
    {
        _cache?.Dispose();
        base.Dispose();
    }

    private async Task FirstAsync()
    {
        long began = Stopwatch.GetTimestamp();
        State.Reset();
        await foreach (GeneratedToken token in _generator.GenerateAsync(_request).ConfigureAwait(false))
        {
            Milliseconds = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        }
    }
}

/// <summary>
/// Speculative decoding: the time of a pass in which a 130m-shaped draft proposes some tokens and the model checks them. What a pass gives is a
/// token and those accepted, which random weights say nothing about; it pays where that is more than its time is of plain decode's.
/// </summary>
internal sealed class SpeculationBenchmark : GenerationBenchmark
{
    private const string DraftSize = "130m";
    private const int Passes = 16;

    private readonly RandomWeights _weights;
    private readonly MambaModel _draft;
    private readonly TextGenerator _generator;

    public SpeculationBenchmark(BenchContext context, BenchRow row)
        : base(context, row)
    {
        MambaConfig config = ModelSizes.Config(row.Model == "tiny" ? "tiny" : DraftSize);
        _weights = new RandomWeights(config, Kernels.DataType.BFloat16, seed: 2);
        _draft = MambaModel.Create(config, _weights.Tensors, context.Backend);
        _generator = new TextGenerator(
            Model, new WithoutText(), new TextGeneratorOptions { Draft = _draft, DraftTokens = checked((int)row.Shape[0]) });
        PassesAsync().GetAwaiter().GetResult();
    }

    public override void Run(int copy) => PassesAsync().GetAwaiter().GetResult();

    public override void Dispose()
    {
        _draft.Dispose();
        _weights.Dispose();
        base.Dispose();
    }

    private async Task PassesAsync()
    {
        // Every text begins with two passes that are not counted: the first compiles, the second captures.
        GenerationRequest request = new()
        {
            PromptIds = RandomIds(16),
            MaxTokens = int.MaxValue,
            Sampling = SamplingOptions.Greedy,
            IgnoreEndOfText = true,
            State = State,
        };
        State.Reset();
        long first = _generator.DraftCounts.Passes + 2, began = 0;
        await foreach (GeneratedToken token in _generator.GenerateAsync(request).ConfigureAwait(false))
        {
            long passes = _generator.DraftCounts.Passes - first;
            if (passes >= 0 && began == 0)
            {
                began = Stopwatch.GetTimestamp();
            }
            else if (passes == Passes)
            {
                Milliseconds = Stopwatch.GetElapsedTime(began).TotalMilliseconds / Passes;
                break;
            }
        }
    }
}
