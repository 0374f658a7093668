using MambaCuda.Kernels;
using MambaCuda.Testing;
using MambaCuda.Tests;

namespace MambaCuda.Training.Tests;

/// <summary>Runs that freeze a model and train an adapter of its.</summary>
public sealed class LoraTrainingTests
{
    private static readonly LoraSettings Lora = new() { Rank = 4, Alpha = 6, Targets = LoraSettings.Projections };

    private static TrainerOptions Options { get; } = new() { Steps = 40, Schedule = LearningRateSchedule.Constant(1e-2) };

    /// <summary>Forty steps on the CPU and on a card; a few on the host device, which takes a second for each.</summary>
    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void An_adapter_learns_and_its_base_stays_to_the_last_bit(string backendName)
    {
        int steps = backendName != "cpu" && HostDevice.IsInUse ? 4 : (int)Options.Steps;
        using Backend backend = ModelBackends.Open(backendName);
        using Fixture run = new(backend, Options);
        using TemporaryFolder folder = new();
        TrainingCheckpoint.WriteModel(folder.Path, run.Model);
        double before = run.Loss();
        for (int step = 0; step < steps; step++)
        {
            run.Trainer.Step();
        }

        double after = run.Loss(), wanted = steps < Options.Steps ? 0.99 : 0.5;
        Assert.True(after <= wanted * before, $"The loss went from {before} to {after}.");

        // Where every B is zero again, what is left is the base.
        using LoraAdapter start = LoraAdapter.Open(folder.Path, run.Model.Config);
        run.Model.Parameters.Load(start.Tensors);
        Assert.Equal(before, run.Loss());
    }

    [Theory]
    [MemberData(nameof(ModelBackends.Rows), MemberType = typeof(ModelBackends))]
    public void A_run_that_goes_on_from_a_checkpoint_gives_the_bits_of_one_that_was_never_stopped(string backendName)
    {
        const int Stop = 2, Last = 4;
        using Backend backend = ModelBackends.Open(backendName);
        using TemporaryFolder folder = new();
        using Fixture whole = new(backend, Options);
        for (int step = 0; step < Last; step++)
        {
            if (step == Stop)
            {
                TrainingCheckpoint.Save(folder.Path, whole.Trainer);
            }

            whole.Trainer.Step();
        }

        string checkpoint = TrainingCheckpoint.Latest(folder.Path)!;
        Assert.Equal(
            ["adapter_config.json", "adapter_model.safetensors", "optimizer.bin", "training.json"],
            Directory.GetFiles(checkpoint).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        using Fixture resumed = new(backend, Options, adapterSeed: 9);
        TrainingCheckpoint.Restore(checkpoint, resumed.Trainer);
        Assert.Equal(Stop, resumed.Trainer.StepsDone);
        while (resumed.Trainer.StepsDone < Last)
        {
            resumed.Trainer.Step();
        }

        Assert.Equal(SmallModel.Bytes(whole.Model), SmallModel.Bytes(resumed.Model));
    }

    [Fact]
    public void A_checkpoint_of_another_kind_of_run_is_refused()
    {
        using CpuBackend backend = new(threads: 1);
        using TemporaryFolder folder = new();
        using Fixture run = new(backend, Options);
        string checkpoint = TrainingCheckpoint.Save(folder.Path, run.Trainer);
        using (Fixture other = new(backend, Options, lora: Lora with { Alpha = 8 }))
        {
            Assert.Contains("adapter is of rank 4, alpha 6,", Refusal(other.Trainer), StringComparison.Ordinal);
        }

        using (Fixture other = new(backend, Options, baseSeed: 2))
        {
            Assert.Contains("trained on other weights", Refusal(other.Trainer), StringComparison.Ordinal);
        }

        using RandomWeights weights = new(SmallModel.Config, DataType.Float32, seed: 1);
        using TrainableModel model = new(SmallModel.Config, weights.Tensors, backend);
        using Trainer whole = new(model, run.Batches, Options);
        Assert.Contains("is of an adapter, but all of the model is trained", Refusal(whole), StringComparison.Ordinal);

        string Refusal(Trainer trainer) =>
            Assert.Throws<CheckpointException>(() => TrainingCheckpoint.Restore(checkpoint, trainer)).Message;
    }

    private sealed class Fixture : IDisposable
    {
        private readonly RandomWeights _weights;

        public Fixture(Backend backend, TrainerOptions options, int baseSeed = 1, int adapterSeed = 1, LoraSettings? lora = null)
        {
            // The frozen embedding must tell tokens apart.
            MambaConfig config = SmallModel.Config with { InitializerRange = 1 };
            _weights = new RandomWeights(config, DataType.Float32, baseSeed);
            Model = new TrainableModel(config, _weights.Tensors, backend, lora ?? Lora, adapterSeed);
            Trainer = new Trainer(Model, Batches, options);
        }

        public TrainableModel Model { get; }

        public BatchSource Batches { get; } = new Counting();

        public Trainer Trainer { get; }

        /// <summary>The mean loss of the first batch.</summary>
        public double Loss()
        {
            TokenBatch batch = Batches.Batch(0);
            using ForwardTape tape = Model.CreateTape();
            Model.Forward(batch.Tokens, batch.Layout, tape);
            Model.Evaluate(tape, batch.Targets);
            return Model.ReadLoss(tape) / batch.TargetCount;
        }

        public void Dispose()
        {
            Trainer.Dispose();
            Model.Dispose();
            _weights.Dispose();
        }
    }

    /// <summary>Sequences that go on by five, from another token each.</summary>
    private sealed class Counting : BatchSource
    {
        private const int Length = 20;

        public override int VocabularySize => SmallModel.Config.VocabularySize;

        protected override TokenBatch Make(long index)
        {
            int[] ids =
            [
                .. from start in new[] { 0, 1, 2, 3 }
                from i in Enumerable.Range(0, Length)
                select (int)((index + start + (5 * i)) % VocabularySize),
            ];
            return new TokenBatch(ids, [.. ids.Select(id => (id + 5) % VocabularySize)], SequenceLayout.Uniform(4, Length));
        }
    }
}
