using MambaCuda.Kernels;
using MambaCuda.Testing;
using MambaCuda.Tests;

namespace MambaCuda.Training.Tests;

/// <summary>Training with activations of float16, whose loss is scaled.</summary>
public sealed class LossScaleTests
{
    private const string Half = "cuda-float16";

    private static TrainerOptions Options { get; } = new() { Steps = 6, Schedule = LearningRateSchedule.Constant(2e-3) };

    [Fact]
    public void It_is_halved_by_overflow_and_doubled_by_good_steps()
    {
        LossScaleSettings settings = new() { GrowthSteps = 3 };
        LossScale scale = new(settings.Initial);
        Assert.Equal(65_536, scale.Value);
        scale = scale.AfterGoodStep(settings).AfterGoodStep(settings);
        Assert.Equal(new LossScale(65_536, 2), scale);
        Assert.Equal(new LossScale(32_768), scale.Halved());
        Assert.Equal(new LossScale(131_072), scale.AfterGoodStep(settings));
        Assert.Equal(new LossScale(LossScale.Largest), new LossScale(LossScale.Largest, 2).AfterGoodStep(settings));
        Assert.True(new LossScale(1).IsAtFloor);
        Assert.False(new LossScale(2).IsAtFloor);
        Assert.Equal(2000, new LossScaleSettings().GrowthSteps);
    }

    [Theory]
    [InlineData(0.5), InlineData(3), InlineData(double.PositiveInfinity), InlineData(double.NaN)]
    public void What_is_no_power_of_two_is_refused(double initial) => Assert.Equal(
        "Initial", Assert.Throws<ArgumentOutOfRangeException>((Options with { LossScale = new() { Initial = initial } }).Validate).ParamName);

    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void Other_types_are_not_scaled(string backendName)
    {
        using Backend backend = ModelBackends.Open(backendName);
        using Fixture run = new(backend, Options);
        Assert.Null(run.Trainer.LossScale);
        Assert.Null(run.Trainer.Step().LossScale);
    }

    [Fact]
    public void A_run_in_float16_learns_what_one_in_float32_does()
    {
        using Backend half = ModelBackends.Open(Half), single = ModelBackends.Open("cuda-float32");
        using Fixture actual = new(half, Options), expected = new(single, Options);
        while (actual.Trainer.StepsDone < Options.Steps)
        {
            TrainingMetrics reached = actual.Trainer.Step(), wanted = expected.Trainer.Step();
            Assert.Equal(wanted.Loss, reached.Loss, 5e-3);
            Assert.True(Math.Abs(reached.GradientNorm - wanted.GradientNorm) <= 0.02 * wanted.GradientNorm, $"{reached} is not {wanted}.");
            Assert.Equal(65_536, reached.LossScale);
        }

        Assert.Equal(new LossScale(65_536, Options.Steps), actual.Trainer.LossScale);
    }

    /// <summary>A run whose scale begins too large ends with the bits of one that began with what was left of it.</summary>
    [Fact]
    public void Overflow_halves_the_scale_and_touches_nothing_else()
    {
        using Backend backend = ModelBackends.Open(Half);
        using Fixture run = new(backend, Options with { LossScale = new() { Initial = LossScale.Largest } });
        TrainingMetrics first = run.Trainer.Step();
        Assert.InRange(first.LossScale!.Value, 1, LossScale.Largest / 2);
        Assert.Equal(1, run.Trainer.StepsDone);
        Assert.Equal(new LossScale(first.LossScale.Value, 1), run.Trainer.LossScale);
        using Fixture other = new(backend, Options with { LossScale = new() { Initial = first.LossScale.Value } });
        Assert.Equal(first.GradientNorm, other.Trainer.Step().GradientNorm);
        Assert.Equal(Bytes(other), Bytes(run));

        // Behind a step the moments are no longer zero.
        run.Trainer.LossScale = new LossScale(LossScale.Largest);
        double scale = run.Trainer.Step().LossScale!.Value;
        other.Trainer.LossScale = new LossScale(scale);
        Assert.Equal(scale, other.Trainer.Step().LossScale);
        Assert.Equal(Bytes(other), Bytes(run));
    }

    [Fact]
    public void Gradients_that_overflow_unscaled_are_divergence_by_name()
    {
        using Backend backend = ModelBackends.Open(Half);
        using Fixture run = new(backend, Options with { LossScale = new() { Initial = 1 } });
        run.Trainer.Step();
        backend.Upload<float>([float.PositiveInfinity], run.Model.Gradients.Of(TensorNames.FinalNorm).ColumnRange(0, 1));
        byte[] before = Bytes(run);
        TrainingDivergedException exception = Assert.Throws<TrainingDivergedException>(() => run.Trainer.Step());
        Assert.Contains("though the loss is no longer scaled", exception.Message, StringComparison.Ordinal);
        Assert.Equal((1, 1), (run.Trainer.StepsDone, run.Trainer.LossScale!.Value));
        Assert.Equal(before, Bytes(run));
    }

    [Fact]
    public void A_run_that_goes_on_has_the_scale_and_the_bits_of_one_that_was_never_stopped()
    {
        TrainerOptions options = Options with { LossScale = new() { Initial = 1024, GrowthSteps = 2 } };
        using Backend backend = ModelBackends.Open(Half);
        using TemporaryFolder folder = new();
        using Fixture whole = new(backend, options);
        for (int step = 0; step < 5; step++)
        {
            if (step == 3)
            {
                TrainingCheckpoint.Save(folder.Path, whole.Trainer);
            }

            whole.Trainer.Step();
        }

        Assert.Equal(new LossScale(4096, 1), whole.Trainer.LossScale);
        using Fixture resumed = new(backend, options, seed: 9);
        TrainingCheckpoint.Restore(TrainingCheckpoint.Latest(folder.Path)!, resumed.Trainer);
        Assert.Equal(new LossScale(2048, 1), resumed.Trainer.LossScale);
        resumed.Trainer.Step();
        resumed.Trainer.Step();
        Assert.Equal(whole.Trainer.LossScale, resumed.Trainer.LossScale);
        Assert.Equal(Bytes(whole), Bytes(resumed));

        // In another type the run goes on without.
        using Backend single = ModelBackends.Open("cuda-float32");
        using Fixture unscaled = new(single, options);
        TrainingCheckpoint.Restore(TrainingCheckpoint.Latest(folder.Path)!, unscaled.Trainer);
        Assert.Null(unscaled.Trainer.LossScale);
    }

    /// <summary>Parameters and both moments, as bits.</summary>
    private static byte[] Bytes(Fixture run)
    {
        MatrixView moments = run.Trainer.Optimizer.Moments;
        byte[] bytes = new byte[moments.Rows * moments.Columns * sizeof(float)];
        run.Model.Backend.Download<byte>(moments, bytes);
        return [.. SmallModel.Bytes(run.Model), .. bytes];
    }

    private sealed class Fixture : IDisposable
    {
        private readonly RandomWeights _weights;

        public Fixture(Backend backend, TrainerOptions options, int seed = 1)
        {
            _weights = new RandomWeights(SmallModel.Config, DataType.Float32, seed);
            Model = new TrainableModel(SmallModel.Config, _weights.Tensors, backend);
            Trainer = new Trainer(Model, new SelectiveCopyingTask(seed: 7, batchSize: 4, length: 20, dataTokens: 4), options);
        }

        public TrainableModel Model { get; }

        public Trainer Trainer { get; }

        public void Dispose()
        {
            Trainer.Dispose();
            Model.Dispose();
            _weights.Dispose();
        }
    }
}
