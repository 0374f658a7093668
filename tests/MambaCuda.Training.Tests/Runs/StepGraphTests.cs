using MambaCuda.Kernels;
using MambaCuda.Testing;
using MambaCuda.Tests;

namespace MambaCuda.Training.Tests;

/// <summary>Steps that are captured and run again, against steps whose operations are called one by one: the same to the last bit.</summary>
public sealed class StepGraphTests
{
    private const int Steps = 20;

    private static readonly MambaConfig Config = SmallModel.Config with { LayerCount = 1, HiddenSize = 16 };

    // A learning rate that is another one in every step, and decay, so that no factor of the optimizer stays.
    private static TrainerOptions Options { get; } = new()
    {
        Steps = Steps,
        Schedule = LearningRateSchedule.Cosine(1e-2, warmupSteps: 3, totalSteps: Steps),
    };

    public static TheoryData<string> Devices => [.. ModelBackends.Names.Where(name => name != "cpu")];

    [Theory]
    [MemberData(nameof(Devices))]
    public void Captured_steps_are_plain_ones_to_the_last_bit(string backendName)
    {
        using Backend backend = ModelBackends.Open(backendName);
        long captured = AssertSame(backend, Options, new Shapes((2, 8)));

        // The first pass and the first step are plain ones.
        Assert.Equal(2 * (Steps - 1), captured);
    }

    /// <summary>
    /// Several lengths, packed sequences among them, more shapes than are kept, and a longer pass in between that moves all memory.
    /// </summary>
    [Fact]
    public void Another_layout_has_another_graph_or_none()
    {
        using Backend backend = ModelBackends.Open("cuda-float32");
        Assert.InRange(AssertSame(backend, Options, new Shapes((2, 8), (2, 8), (1, 7), (3, 5))), Steps, (2 * Steps) - 4);
        Assert.InRange(AssertSame(backend, Options, new Shapes((2, 8), (2, 8), (-2, 8))), Steps, (2 * Steps) - 4);
        Assert.InRange(AssertSame(backend, Options, new Shapes(Enumerable.Range(2, 6).Select(length => (1, length)).ToArray())), 1, Steps);
        Assert.InRange(AssertSame(backend, Options, new Shapes([.. Enumerable.Repeat((1, 8), 9), (4, 40)])), Steps, (2 * Steps) - 3);
    }

    [Fact]
    public void Batches_are_added_up_and_held_out_ones_tried_in_between()
    {
        using Backend backend = ModelBackends.Open("cuda-bfloat16");
        TrainerOptions options = Options with { Steps = 6, Accumulation = 2, ValidateEvery = 2, ValidationBatches = 1 };
        Assert.InRange(AssertSame(backend, options, new Shapes((2, 8))), 6, (3 * 6) - 2);
    }

    [Fact]
    public void An_adapter_is_trained_so_too()
    {
        using Backend backend = ModelBackends.Open("cuda-bfloat16");
        Assert.Equal(2 * 4, AssertSame(backend, Options with { Steps = 5 }, new Shapes((2, 8)), new LoraSettings { Rank = 2, Alpha = 3 }));
    }

    /// <summary>A scale that overflows and grows again: other factors of gradients, with graphs of their own.</summary>
    [Fact]
    public void A_loss_scale_may_change()
    {
        using Backend backend = ModelBackends.Open("cuda-float16");
        LossScaleSettings scale = new() { Initial = LossScale.Largest, GrowthSteps = 4 };
        Assert.InRange(AssertSame(backend, Options with { Steps = 10, LossScale = scale }, new Shapes((2, 8))), 4, 40);
    }

    [Fact]
    public void A_run_goes_on_from_a_checkpoint_in_either_way()
    {
        const int Stop = 4, Last = 8;
        using Backend backend = ModelBackends.Open("cuda-float32");
        using TemporaryFolder folder = new();
        using Fixture whole = new(backend, Options with { CaptureSteps = false }, new Shapes((2, 8)), null);
        whole.RunTo(Last);
        using Fixture first = new(backend, Options, new Shapes((2, 8)), null);
        first.RunTo(Stop);
        TrainingCheckpoint.Save(folder.Path, first.Trainer);
        first.RunTo(Last);
        Assert.Equal(whole.Bytes(), first.Bytes());
        foreach (bool captures in new[] { false, true })
        {
            using Fixture second = new(backend, Options with { CaptureSteps = captures }, new Shapes((2, 8)), null, seed: 9);
            TrainingCheckpoint.Restore(TrainingCheckpoint.Latest(folder.Path)!, second.Trainer);
            second.RunTo(Last);
            Assert.Equal(whole.Bytes(), second.Bytes());
        }

        // Back to the checkpoint with the graphs that there are.
        TrainingCheckpoint.Restore(TrainingCheckpoint.Latest(folder.Path)!, first.Trainer);
        first.RunTo(Last);
        Assert.Equal(whole.Bytes(), first.Bytes());
    }

    [Fact]
    public void A_gradient_that_is_not_finite_is_told_and_changes_nothing()
    {
        using Backend backend = ModelBackends.Open("cuda-float32");
        using Fixture run = new(backend, Options, new Shapes((2, 8)), null);
        run.RunTo(3);
        byte[] before = run.Bytes();
        backend.Upload<float>([float.NaN], run.Model.Gradients.Of(TensorNames.FinalNorm).ColumnRange(0, 1));
        Assert.Throws<TrainingDivergedException>(() => run.Trainer.Step());
        Assert.Equal(before, run.Bytes());
        run.RunTo(4);
        Assert.NotEqual(before, run.Bytes());
    }

    [Fact]
    public void The_CPU_calls_its_operations()
    {
        using CpuBackend backend = new(threads: 1);
        Assert.False(backend.CanCapture);
        Assert.Throws<NotSupportedException>(() => backend.Capture(() => { }));
        using Fixture run = new(backend, Options, new Shapes((2, 8)), null);
        run.RunTo(2);
        Assert.Equal(0, run.Trainer.CapturedRuns);
    }

    /// <summary>Runs both ways; how often captured operations were run.</summary>
    private static long AssertSame(Backend backend, TrainerOptions options, Shapes batches, LoraSettings? lora = null)
    {
        using Fixture plain = new(backend, options with { CaptureSteps = false }, batches, lora);
        plain.RunTo(options.Steps);
        using Fixture captured = new(backend, options, batches, lora);
        captured.RunTo(options.Steps);
        Assert.Equal(plain.Seen, captured.Seen);
        Assert.Equal(plain.Bytes(), captured.Bytes());
        Assert.Equal(0, plain.Trainer.CapturedRuns);
        return captured.Trainer.CapturedRuns;
    }

    private sealed class Fixture : IDisposable
    {
        private readonly RandomWeights _weights;

        public Fixture(Backend backend, TrainerOptions options, BatchSource batches, LoraSettings? lora, int seed = 1)
        {
            _weights = new RandomWeights(Config, DataType.Float32, seed: lora is null ? seed : 1);
            Model = lora is null
                ? new TrainableModel(Config, _weights.Tensors, backend)
                : new TrainableModel(Config, _weights.Tensors, backend, lora, seed);
            Trainer = new Trainer(Model, batches, options, new Shapes((3, 9)));
        }

        public TrainableModel Model { get; }

        public Trainer Trainer { get; }

        public List<(double Loss, double Norm, double? HeldOut, double? Scale)> Seen { get; } = [];

        public void RunTo(long step)
        {
            while (Trainer.StepsDone < step)
            {
                TrainingMetrics metrics = Trainer.Step();
                Seen.Add((metrics.Loss, metrics.GradientNorm, metrics.ValidationLoss, metrics.LossScale));
            }
        }

        /// <summary>Parameters and both moments.</summary>
        public byte[] Bytes()
        {
            MatrixView moments = Trainer.Optimizer.Moments;
            byte[] bytes = new byte[moments.Rows * moments.Columns * sizeof(float)];
            Model.Backend.Download<byte>(moments, bytes);
            return [.. SmallModel.Bytes(Model), .. bytes];
        }

        public void Dispose()
        {
            Trainer.Dispose();
            Model.Dispose();
            _weights.Dispose();
        }
    }

    /// <summary>Random tokens in batches of these sequences and lengths, in turn; a negative number of sequences of unlike lengths.</summary>
    private sealed class Shapes(params (int Sequences, int Length)[] shapes) : BatchSource
    {
        public override int VocabularySize => Config.VocabularySize;

        protected override TokenBatch Make(long index)
        {
            (int sequences, int length) = shapes[index % shapes.Length];
            SequenceLayout layout = sequences > 0
                ? SequenceLayout.Uniform(sequences, length)
                : SequenceLayout.Packed([.. Enumerable.Range(0, -sequences).Select(sequence => length + sequence)]);
            Random random = new((int)index);
            int[] Ids() => [.. Enumerable.Range(0, (int)layout.TotalLength).Select(_ => random.Next(VocabularySize))];
            return new TokenBatch(Ids(), Ids(), layout);
        }
    }
}
