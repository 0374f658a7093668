using System.Diagnostics;
using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>
/// Takes a model through the steps of a run. Nothing but the number of steps done decides what a step sees and how it learns, so that a run
/// which goes on from a checkpoint ends with the very bits of one that was never stopped.
/// </summary>
public sealed class Trainer : IDisposable
{
    private readonly BatchSource _batches;
    private readonly BatchSource? _validation;
    private readonly ForwardTape _tape;
    private readonly StepGraphs? _graphs;
    private LayerStates? _states;

    /// <summary>Begins a run with the model as it is.</summary>
    /// <param name="model">The model; belongs to the caller.</param>
    /// <param name="batches">What it learns from.</param>
    /// <param name="options">How.</param>
    /// <param name="validation">What it is tried on, or null.</param>
    /// <exception cref="ArgumentException">An option is out of its range, or the vocabulary of the data is larger than the model's.</exception>
    public Trainer(TrainableModel model, BatchSource batches, TrainerOptions options, BatchSource? validation = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(batches);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        foreach (BatchSource source in validation is null ? [batches] : new[] { batches, validation })
        {
            if (source.VocabularySize > model.Config.VocabularySize)
            {
                throw new ArgumentException(
                    $"The data has ids up to {source.VocabularySize - 1}, but the model's vocabulary is {model.Config.VocabularySize}. "
                    + "Give the model the tokenizer's vocabulary.",
                    nameof(batches));
            }
        }

        Model = model;
        Options = options;
        _batches = batches;
        _validation = validation;
        Optimizer = new AdamWOptimizer(model, options.Optimizer);
        LossScale = model.Backend.ActivationType == DataType.Float16 ? new LossScale(options.LossScale.Initial) : null;
        _tape = model.CreateTape();
        _graphs = options.CaptureSteps && model.Backend.CanCapture ? new StepGraphs(model, Optimizer, _tape, options.ZLossWeight) : null;
    }

    /// <summary>The model.</summary>
    public TrainableModel Model { get; }

    /// <summary>How it is trained.</summary>
    public TrainerOptions Options { get; }

    /// <summary>The optimizer.</summary>
    public AdamWOptimizer Optimizer { get; }

    /// <summary>How many steps are done.</summary>
    public long StepsDone => Optimizer.StepsTaken;

    /// <summary>How many tokens they saw.</summary>
    public long TokensSeen { get; internal set; }

    /// <summary>How long they took, over all resumes.</summary>
    public double Seconds { get; internal set; }

    /// <summary>What the next step's loss is multiplied by; null where activations are not Float16.</summary>
    public LossScale? LossScale { get; internal set; }

    /// <summary>How often a step's gradients, or its optimizer, were run as captured operations.</summary>
    public long CapturedRuns => _graphs?.Runs ?? 0;

    /// <summary>Called with the batch whose loss or gradient was not finite, before that is thrown; returns where it was saved.</summary>
    public Func<TokenBatch, string>? OnDivergence { get; set; }

    /// <summary>
    /// Takes one step. Where the gradients of a scaled loss are not finite it is tried again with half of the scale, as often as that
    /// helps; parameters and moments stay as they are meanwhile.
    /// </summary>
    /// <returns>What is known of it.</returns>
    /// <exception cref="TrainingDivergedException">The loss or a gradient is not finite; the parameters are as before.</exception>
    public TrainingMetrics Step()
    {
        long started = Stopwatch.GetTimestamp();
        TokenBatch[] parts =
        [
            .. Enumerable.Range(0, Options.Accumulation).Select(part => _batches.Batch((StepsDone * Options.Accumulation) + part)),
        ];
        double learningRate = Options.Schedule.At(StepsDone);
        (double loss, double norm) = Try(parts, learningRate);
        while (!double.IsFinite(norm) && LossScale is { IsAtFloor: false } tooLarge)
        {
            LossScale = tooLarge.Halved();
            (loss, norm) = Try(parts, learningRate);
        }

        if (!double.IsFinite(norm))
        {
            string scaled = LossScale is null ? "" : ", though the loss is no longer scaled";
            throw Diverged(parts[^1], $"The norm of the gradients of step {StepsDone + 1} is {norm}{scaled}");
        }

        double? scale = LossScale?.Value;
        LossScale = LossScale?.AfterGoodStep(Options.LossScale);
        long tokens = parts.Sum(part => (long)part.Tokens.Length);
        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        TokensSeen += tokens;
        Seconds += seconds;
        bool validates = _validation is not null && Options.ValidateEvery > 0 && StepsDone % Options.ValidateEvery == 0;
        return new TrainingMetrics(
            StepsDone, TokensSeen, loss, learningRate, norm, tokens / seconds, Seconds,
            (Options.Steps - StepsDone) * (Seconds / StepsDone), validates ? Validate() : null, scale);
    }

    /// <summary>The mean loss of a target of the held-out batches, in nats.</summary>
    /// <exception cref="InvalidOperationException">The trainer has none.</exception>
    public double Validate()
    {
        BatchSource source = _validation ?? throw new InvalidOperationException("The trainer was given no held-out batches.");
        double loss = 0;
        long targets = 0;

        // Held-out data that is seen once in fewer steps is measured once, not in part twice.
        long batches = Math.Min(Options.ValidationBatches, source.StepsPerEpoch ?? long.MaxValue);
        for (long i = 0; i < batches; i++)
        {
            TokenBatch batch = source.Batch(i);
            targets += batch.TargetCount;
            foreach (BatchSegment segment in Segments(batch))
            {
                Model.Forward(segment.Tokens, segment.Layout, _tape, _states);
                Model.Evaluate(_tape, segment.Targets);
                loss += Model.ReadLoss(_tape);
            }
        }

        return loss / Math.Max(1, targets);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _graphs?.Dispose();
        _tape.Dispose();
        _states?.Dispose();
        Optimizer.Dispose();
    }

    /// <summary>Takes the step, or leaves all as it is where the norm of the gradients is not finite.</summary>
    /// <returns>The mean loss of a target, and the norm.</returns>
    private (double Loss, double Norm) Try(TokenBatch[] parts, double learningRate)
    {
        long targets = Math.Max(1, parts.Sum(part => (long)part.TargetCount));
        float scale = (float)(LossScale?.Value ?? 1);
        double loss = 0;
        foreach (TokenBatch part in parts)
        {
            double partLoss = Accumulate(part, scale * (1f / targets));
            loss += partLoss;
            if (!double.IsFinite(partLoss))
            {
                Model.Gradients.Clear();
                throw Diverged(part, $"The loss of step {StepsDone + 1} is {partLoss}");
            }
        }

        return (loss / targets, _graphs?.Step(learningRate, 1.0 / scale) ?? Optimizer.Step(learningRate, 1.0 / scale));
    }

    /// <summary>Adds a batch's gradients to those there are; the sum of its losses.</summary>
    private double Accumulate(TokenBatch batch, float gradScale)
    {
        if (_graphs is not null && IsWhole(batch) && StepGraphs.Takes(batch))
        {
            _graphs.Pass(batch, gradScale);
            return Model.ReadLoss(_tape);
        }

        double loss = 0;
        foreach (BatchSegment segment in Segments(batch))
        {
            Model.Forward(segment.Tokens, segment.Layout, _tape, _states);
            Model.Loss(_tape, segment.Targets, gradScale, (float)Options.ZLossWeight);
            Model.Backward(_tape);
            loss += Model.ReadLoss(_tape);
        }

        return loss;
    }

    /// <summary>The parts in which a batch runs through the model, with states to carry where there is more than one.</summary>
    private IEnumerable<BatchSegment> Segments(TokenBatch batch)
    {
        if (IsWhole(batch))
        {
            _states?.Dispose();
            _states = null;
            return [new BatchSegment(batch.Tokens.ToArray(), batch.Targets.ToArray(), batch.Layout)];
        }

        if (_states?.SlotCount != batch.Layout.Count)
        {
            _states?.Dispose();
            _states = Model.CreateStates(batch.Layout.Count);
        }

        _states.Clear();
        return BatchSegment.Of(batch, Options.SegmentTokens);
    }

    private bool IsWhole(TokenBatch batch) => Options.SegmentTokens == 0 || batch.Layout.MaxLength <= Options.SegmentTokens;

    private TrainingDivergedException Diverged(TokenBatch batch, string what)
    {
        string saved = OnDivergence is { } save ? $" The batch is saved in {save(batch)}." : "";
        return new TrainingDivergedException(
            $"{what}. The parameters are as they were before the step.{saved} Lower the learning rate, or lengthen the warm-up.");
    }
}
