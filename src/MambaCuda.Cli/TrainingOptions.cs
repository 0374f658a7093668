using System.CommandLine;
using MambaCuda.Training;
using static MambaCuda.Cli.CommonOptions;

namespace MambaCuda.Cli;

/// <summary>How a model is trained: the options of every command that trains, with defaults of the command's own.</summary>
internal sealed class TrainingOptions
{
    private readonly Option<long> _steps;
    private readonly Option<double> _learningRate;
    private readonly Option<string> _schedule;
    private readonly Option<double> _weightDecay;
    private readonly Option<double> _epsilon;
    private readonly Option<long?> _warmup = new("--warmup")
    {
        Description = "Steps in which the learning rate rises to its peak. Left out: a tenth of all.",
        HelpName = "N",
    };

    private readonly Option<double?> _floor = new("--floor")
    {
        Description = "The learning rate at the end of a cosine or a decay. Left out: 1e-5, or a tenth of the peak where that is less.",
        HelpName = "RATE",
    };

    private readonly Option<double> _clip = WithDefault(
        "--clip", "Scale gradients down where the norm of all of them is more than this.", new AdamWSettings().MaxGradientNorm, "NORM");

    private readonly Option<int> _accumulate = WithDefault("--accumulate", "Batches whose gradients are added up before a step.", 1);

    private readonly Option<int> _segment = WithDefault(
        "--segment", "Run sequences longer than this in segments: the state is carried on, the gradient cut off. 0: never.", 0, "TOKENS");

    private readonly Option<bool> _noGraph = new("--no-graph")
    {
        Description = "Launch the kernels of every step one by one on CUDA, in place of a captured graph. The result is the same.",
    };

    private readonly Option<long> _checkpointEvery;
    private readonly Option<int> _keep;

    private readonly Option<long> _validateEvery = WithDefault(
        "--validate-every", "Measure the loss on what is held out after every so many steps. 0: never.", 0L);

    public TrainingOptions(
        long steps, double learningRate, string schedule, double? weightDecay = null, double? epsilon = null, long checkpointEvery = 0,
        int keepCheckpoints = 2)
    {
        _checkpointEvery = WithDefault(
            "--checkpoint-every", "Save a checkpoint after every so many steps; the last step is always saved. 0: only there.",
            checkpointEvery);
        _keep = WithDefault("--keep", "How many checkpoints are kept; older ones are deleted.", keepCheckpoints);
        _steps = WithDefault("--steps", "How many steps to train.", steps);
        _learningRate = WithDefault("--learning-rate", "The peak of the learning rate.", learningRate, "RATE");
        _schedule = WithDefault(
            "--schedule",
            "What the learning rate does after the warm-up: constant, cosine, or wsd (stable, then falling over the last fifth).", schedule,
            helpName: null);
        _schedule.AcceptOnlyFromAmong("constant", "cosine", "wsd");
        _weightDecay = WithDefault(
            "--weight-decay", "Weight decay of matrices and convolutions; A_log, D, biases and norms have none.",
            weightDecay ?? new AdamWSettings().WeightDecay, "SHARE");
        _epsilon = WithDefault(
            "--epsilon", "Added to the root of AdamW's second moment: gradients far below it move nothing.",
            epsilon ?? new AdamWSettings().Epsilon, "NUMBER");
    }

    public void AddTo(Command command)
    {
        foreach (Option option in new Option[]
        {
            _steps, _learningRate, _schedule, _warmup, _floor, _weightDecay, _clip, _epsilon, _accumulate, _segment, _noGraph, _checkpointEvery,
            _keep, _validateEvery,
        })
        {
            command.Options.Add(option);
        }
    }

    /// <summary>By their names in a recipe, what became of options that are derived from others where they are left out.</summary>
    public static IEnumerable<KeyValuePair<string, object?>> Derived(TrainerOptions options)
    {
        LearningRateSchedule schedule = options.Schedule;
        yield return new("warmup", schedule.WarmupSteps);
        yield return new("floor", schedule.Shape == LearningRateShape.Constant ? null : schedule.Floor);
    }

    /// <exception cref="UsageException">A number is out of its range.</exception>
    public TrainerOptions Read(ParseResult parsed)
    {
        long steps = parsed.GetValue(_steps);
        double peak = parsed.GetValue(_learningRate);
        try
        {
            TrainerOptions options = new()
            {
                Steps = steps,
                Schedule = Schedule(parsed, steps, peak),
                Optimizer = new AdamWSettings
                {
                    WeightDecay = parsed.GetValue(_weightDecay),
                    MaxGradientNorm = parsed.GetValue(_clip),
                    Epsilon = parsed.GetValue(_epsilon),
                },
                Accumulation = parsed.GetValue(_accumulate),
                SegmentTokens = parsed.GetValue(_segment),
                CaptureSteps = !parsed.GetValue(_noGraph),
                CheckpointEvery = parsed.GetValue(_checkpointEvery),
                KeepCheckpoints = parsed.GetValue(_keep),
                ValidateEvery = parsed.GetValue(_validateEvery),
            };
            options.Validate();
            return options;
        }
        catch (ArgumentException exception)
        {
            throw new UsageException(exception.Message, exception);
        }
    }

    private LearningRateSchedule Schedule(ParseResult parsed, long steps, double peak)
    {
        long warmup = parsed.GetValue(_warmup) ?? steps / 10;
        double floor = parsed.GetValue(_floor) ?? Math.Min(1e-5, peak / 10);
        return parsed.GetValue(_schedule) switch
        {
            "constant" => LearningRateSchedule.Constant(peak, warmup),
            "cosine" => LearningRateSchedule.Cosine(peak, warmup, steps, floor),
            _ => LearningRateSchedule.WarmupStableDecay(peak, warmup, steps, Math.Max(1, Math.Min(steps / 5, steps - warmup)), floor),
        };
    }
}
