using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>Runs of a small model: they learn, repeat, stop and go on.</summary>
public sealed class TrainerTests
{
    private static TrainerOptions Options { get; } = new()
    {
        Steps = 12,
        Schedule = LearningRateSchedule.Cosine(3e-3, warmupSteps: 2, totalSteps: 12),
    };

    [Fact]
    public void The_same_run_gives_the_same_bits_whatever_the_number_of_threads()
    {
        byte[] Run(int threads)
        {
            using Fixture run = new(Options, threads: threads);
            while (run.Trainer.StepsDone < Options.Steps)
            {
                run.Trainer.Step();
            }

            return SmallModel.Bytes(run.Model);
        }

        byte[] expected = Run(1);
        Assert.Equal(expected, Run(1));
        Assert.Equal(expected, Run(3));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    public void A_run_that_goes_on_from_a_checkpoint_gives_the_bits_of_one_that_was_never_stopped(int stop)
    {
        using TemporaryFolder folder = new();
        using Fixture whole = new(Options);
        TrainingMetrics last = null!;
        while (whole.Trainer.StepsDone < Options.Steps)
        {
            last = whole.Trainer.Step();
        }

        using (Fixture first = new(Options))
        {
            while (first.Trainer.StepsDone < stop)
            {
                first.Trainer.Step();
            }

            TrainingCheckpoint.Save(folder.Path, first.Trainer);
        }

        using Fixture second = new(Options, seed: 99);
        TrainingCheckpoint.Restore(TrainingCheckpoint.Latest(folder.Path)!, second.Trainer);
        Assert.Equal(stop, second.Trainer.StepsDone);
        TrainingMetrics resumed = null!;
        while (second.Trainer.StepsDone < Options.Steps)
        {
            resumed = second.Trainer.Step();
        }

        Assert.Equal(SmallModel.Bytes(whole.Model), SmallModel.Bytes(second.Model));
        Assert.Equal((last.Loss, last.GradientNorm, last.Tokens), (resumed.Loss, resumed.GradientNorm, resumed.Tokens));
    }

    [Fact]
    public void A_checkpoint_is_a_model_that_loads()
    {
        using TemporaryFolder folder = new();
        using Fixture run = new(Options);
        run.Trainer.Step();
        string path = TrainingCheckpoint.Save(folder.Path, run.Trainer);
        using CpuBackend backend = new(threads: 1);
        using MambaModel model = MambaModel.Load(path, backend, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(SmallModel.Config, model.Config);
    }

    [Fact]
    public void Old_checkpoints_go_and_unfinished_ones_are_never_taken()
    {
        using TemporaryFolder folder = new();
        Assert.Null(TrainingCheckpoint.Latest(folder.Path));
        using Fixture run = new(Options);
        for (int step = 0; step < 3; step++)
        {
            run.Trainer.Step();
            TrainingCheckpoint.Save(folder.Path, run.Trainer);
        }

        string unfinished = Path.Combine(folder.Path, ".unfinished-0123");
        Directory.CreateDirectory(unfinished);
        Assert.EndsWith("step-0000000003", TrainingCheckpoint.Latest(folder.Path)!, StringComparison.Ordinal);
        Assert.Equal(
            [".unfinished-0123", "step-0000000002", "step-0000000003"],
            Directory.GetDirectories(folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("optimizer.bin", 100)]
    [InlineData("optimizer.bin", 8)]
    [InlineData("training.json", 3)]
    public void A_damaged_checkpoint_is_told_by_its_file(string file, int at)
    {
        using TemporaryFolder folder = new();
        using Fixture run = new(Options);
        run.Trainer.Step();
        string path = TrainingCheckpoint.Save(folder.Path, run.Trainer), damaged = Path.Combine(path, file);
        byte[] bytes = File.ReadAllBytes(damaged);
        bytes[at] ^= 0xff;
        File.WriteAllBytes(damaged, bytes);
        CheckpointException exception = Assert.Throws<CheckpointException>(() => TrainingCheckpoint.Restore(path, run.Trainer));
        Assert.Contains(file, exception.Message, StringComparison.Ordinal);
        File.WriteAllBytes(damaged, bytes[..(bytes.Length / 2)]);
        Assert.Contains(
            file, Assert.Throws<CheckpointException>(() => TrainingCheckpoint.Restore(path, run.Trainer)).Message, StringComparison.Ordinal);
    }

    /// <summary>Two batches added up are the mean over the targets of both.</summary>
    [Fact]
    public void Accumulated_batches_are_one_step_over_all_their_targets()
    {
        TrainerOptions accumulating = Options with { Accumulation = 2 };
        using Fixture two = new(accumulating);
        TrainingMetrics metrics = two.Trainer.Step();
        using Fixture reference = new(Options);
        TokenBatch[] parts = [reference.Batches.Batch(0), reference.Batches.Batch(1)];
        using ForwardTape tape = reference.Model.CreateTape();
        double loss = 0;
        foreach (TokenBatch part in parts)
        {
            reference.Model.Forward(part.Tokens, part.Layout, tape);
            reference.Model.Loss(tape, part.Targets, 1f / parts.Sum(each => each.TargetCount));
            reference.Model.Backward(tape);
            loss += reference.Model.ReadLoss(tape);
        }

        Assert.Equal(loss / parts.Sum(part => part.TargetCount), metrics.Loss, 1e-12);
        reference.Trainer.Optimizer.Step(Options.Schedule.At(0));
        Assert.Equal(SmallModel.Bytes(reference.Model), SmallModel.Bytes(two.Model));
    }

    /// <summary>Segments carry the state: the losses are those of whole sequences, though the gradients are cut.</summary>
    [Fact]
    public void Sequences_longer_than_a_segment_keep_their_state()
    {
        using Fixture whole = new(Options), cut = new(Options with { SegmentTokens = 7 });
        TrainingMetrics expected = whole.Trainer.Step(), actual = cut.Trainer.Step();
        Assert.Equal(expected.Loss, actual.Loss, 1e-5);
        Assert.NotEqual(expected.GradientNorm, actual.GradientNorm, 1e-6);
    }

    [Fact]
    public void A_diverging_step_says_so_and_leaves_the_parameters()
    {
        using Fixture run = new(Options);
        run.Trainer.Step();
        run.Backend.Upload<float>([float.PositiveInfinity], run.Model.Parameters.Of(TensorNames.FinalNorm).ColumnRange(0, 1));
        byte[] before = SmallModel.Bytes(run.Model);
        TokenBatch? saved = null;
        run.Trainer.OnDivergence = batch =>
        {
            saved = batch;
            return "here.json";
        };
        TrainingDivergedException exception = Assert.Throws<TrainingDivergedException>(() => run.Trainer.Step());
        Assert.Contains("here.json", exception.Message, StringComparison.Ordinal);
        Assert.NotNull(saved);
        Assert.Equal(1, run.Trainer.StepsDone);
        Assert.Equal(before, SmallModel.Bytes(run.Model));
    }

    [Fact]
    public void Data_of_a_larger_vocabulary_is_refused()
    {
        using CpuBackend backend = new(threads: 1);
        using RandomWeights weights = new(SmallModel.Config, DataType.Float32, seed: 1);
        using TrainableModel model = new(SmallModel.Config, weights.Tensors, backend);
        InductionHeadsTask large = new(seed: 1, batchSize: 1, length: 8, vocabularySize: 17);
        Assert.Contains(
            "vocabulary is 16", Assert.Throws<ArgumentException>(() => new Trainer(model, large, Options)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Held_out_batches_are_tried_when_asked_for()
    {
        using Fixture run = new(Options with { ValidateEvery = 2, ValidationBatches = 2 });
        Assert.Null(run.Trainer.Step().ValidationLoss);
        double? loss = run.Trainer.Step().ValidationLoss;
        Assert.InRange(loss!.Value, 0.1, 10);
        Assert.Equal(loss.Value, run.Trainer.Validate());
    }

    [Fact]
    public void Held_out_data_of_fewer_batches_is_measured_once()
    {
        using TemporaryFolder folder = new();
        using TokenFile file = TokenFile.Open(TinyTokens.Write(folder, vocabularySize: 16, 76));

        // Five sequences: three batches, of which eight would be two and two thirds of a round; or one batch.
        Assert.Equal(Measured(batchSize: 5), Measured(batchSize: 2), tolerance: 1e-6);

        double Measured(int batchSize)
        {
            using CpuBackend backend = new(threads: 1);
            using RandomWeights weights = new(SmallModel.Config, DataType.Float32, seed: 1);
            using TrainableModel model = new(SmallModel.Config, weights.Tensors, backend);
            ContiguousBatches heldOut = new(file.All, batchSize, length: 15, seed: null);
            using Trainer trainer = new(model, heldOut, Options, heldOut);
            return trainer.Validate();
        }
    }

    private sealed class Fixture : IDisposable
    {
        private readonly RandomWeights _weights;

        public Fixture(TrainerOptions options, int threads = 2, int seed = 1)
        {
            Backend = new CpuBackend(threads);
            _weights = new RandomWeights(SmallModel.Config, DataType.Float32, seed);
            Model = new TrainableModel(SmallModel.Config, _weights.Tensors, Backend);
            Batches = new SelectiveCopyingTask(seed: 7, batchSize: 4, length: 20, dataTokens: 4);
            Trainer = new Trainer(
                Model, Batches, options, new SelectiveCopyingTask(seed: 8, batchSize: 4, length: 20, dataTokens: 4));
        }

        public CpuBackend Backend { get; }

        public TrainableModel Model { get; }

        public BatchSource Batches { get; }

        public Trainer Trainer { get; }

        public void Dispose()
        {
            Trainer.Dispose();
            Model.Dispose();
            _weights.Dispose();
            Backend.Dispose();
        }
    }
}
