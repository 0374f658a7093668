using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>Runs with a folder: stopped, killed, damaged, and gone on with.</summary>
public sealed class TrainingRunTests
{
    private static TrainerOptions Options { get; } = new()
    {
        Steps = 10,
        Schedule = LearningRateSchedule.Constant(2e-3),
        CheckpointEvery = 4,
    };

    [Fact]
    public void A_cancelled_run_saves_itself_and_goes_on_to_the_same_end()
    {
        using TemporaryFolder whole = new(), stopped = new();
        byte[] expected = Complete(whole.Path, CancellationToken.None);
        using CancellationTokenSource cancellation = new();
        CancelAt progress = new(step: 6, cancellation);
        Assert.Throws<OperationCanceledException>(() => Complete(stopped.Path, cancellation.Token, progress));
        Assert.EndsWith("step-0000000006", TrainingCheckpoint.Latest(stopped.Path)!, StringComparison.Ordinal);
        Assert.Equal(expected, Complete(stopped.Path, CancellationToken.None));

        // The metrics of both halves are those of the whole, but for the time that they took.
        static IEnumerable<(long, double, double)> Seen(string folder) =>
            MetricsLog.Read(Path.Combine(folder, TrainingRun.MetricsFile)).Select(step => (step.Step, step.Loss, step.GradientNorm));
        Assert.Equal(Options.Steps, Seen(whole.Path).Count());
        Assert.Equal(Seen(whole.Path), Seen(stopped.Path));
    }

    /// <summary>What a process that died leaves: steps in the log after its last checkpoint, a torn line, an unfinished checkpoint.</summary>
    [Fact]
    public void A_killed_run_goes_on_from_its_last_checkpoint_to_the_same_end()
    {
        using TemporaryFolder whole = new(), killed = new();
        byte[] expected = Complete(whole.Path, CancellationToken.None);
        using CancellationTokenSource cancellation = new();
        Assert.Throws<OperationCanceledException>(() => Complete(killed.Path, cancellation.Token, new CancelAt(7, cancellation)));
        Directory.Delete(TrainingCheckpoint.Latest(killed.Path)!, recursive: true);
        File.AppendAllText(Path.Combine(killed.Path, TrainingRun.MetricsFile), "{\"step\": 8, \"lo");
        string unfinished = Path.Combine(killed.Path, ".unfinished-1");
        Directory.CreateDirectory(unfinished);
        File.WriteAllText(Path.Combine(unfinished, "model.safetensors"), "half");

        Assert.Equal(expected, Complete(killed.Path, CancellationToken.None, new StartsAt(5)));
        Assert.False(Directory.Exists(unfinished));
        Assert.Equal(
            Enumerable.Range(1, 10), MetricsLog.Read(Path.Combine(killed.Path, TrainingRun.MetricsFile)).Select(step => (int)step.Step));
    }

    /// <summary>Whoever looks at a run that is going on must not touch what it is writing; a second writer is turned away.</summary>
    [Fact]
    public void Only_the_one_writer_of_a_run_deletes_what_is_unfinished()
    {
        using TemporaryFolder folder = new();
        Complete(folder.Path, CancellationToken.None);
        using Process process = new(folder.Path);
        string unfinished = Path.Combine(folder.Path, ".unfinished-1");
        Directory.CreateDirectory(unfinished);
        string latest = TrainingCheckpoint.Latest(folder.Path)!;
        Assert.Equal(latest, process.Run.Checkpoint);
        TrainingCheckpoint.Restore(latest, process.Trainer);
        MetricsLog.Read(Path.Combine(folder.Path, TrainingRun.MetricsFile));
        string message = Assert.Throws<IOException>(() => Complete(folder.Path, CancellationToken.None)).Message;
        Assert.Contains("is another process training it?", message, StringComparison.Ordinal);
        Assert.True(Directory.Exists(unfinished));
        process.Dispose();
        Complete(folder.Path, CancellationToken.None);
        Assert.False(Directory.Exists(unfinished));
    }

    [Fact]
    public void Companions_go_into_every_checkpoint()
    {
        using TemporaryFolder folder = new();
        string companion = Path.Combine(folder.Path, "tokenizer.json");
        File.WriteAllText(companion, "{}");
        Complete(Path.Combine(folder.Path, "run"), CancellationToken.None, companions: companion);
        string[] checkpoints = Directory.GetDirectories(Path.Combine(folder.Path, "run"));
        Assert.Equal(2, checkpoints.Length);
        Assert.All(checkpoints, checkpoint => Assert.True(File.Exists(Path.Combine(checkpoint, "tokenizer.json"))));
    }

    [Fact]
    public void Another_model_s_folder_is_refused()
    {
        using TemporaryFolder folder = new();
        Complete(folder.Path, CancellationToken.None);
        Assert.Contains(
            "another configuration",
            Assert.Throws<CheckpointException>(() => Complete(folder.Path, CancellationToken.None, layers: 1)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_batch_of_a_step_that_diverges_is_kept()
    {
        using TemporaryFolder folder = new();
        using CpuBackend backend = new(threads: 1);
        using RandomWeights weights = new(SmallModel.Config, DataType.Float32, seed: 1);
        using TrainableModel model = new(SmallModel.Config, weights.Tensors, backend);
        using Trainer trainer = new(model, Batches, Options);
        using TrainingRun run = TrainingRun.Open(folder.Path, trainer);
        backend.Upload<float>([float.NaN], model.Parameters.Of(TensorNames.FinalNorm).ColumnRange(2, 1));
        string message = Assert.Throws<TrainingDivergedException>(
            () => run.Complete(cancellation: TestContext.Current.CancellationToken)).Message;
        string saved = Assert.Single(Directory.GetFiles(folder.Path, "failed-step-*.json"));
        Assert.Contains(saved, message, StringComparison.Ordinal);
        Assert.Contains("\"tokens\":[", File.ReadAllText(saved), StringComparison.Ordinal);
    }

    private static InductionHeadsTask Batches { get; } = new(seed: 4, batchSize: 4, length: 12);

    private static byte[] Complete(
        string folder, CancellationToken cancellation, IProgress<TrainingMetrics>? progress = null, int layers = 2,
        params string[] companions)
    {
        using Process process = new(folder, layers, companions);
        process.Run.Complete(progress, cancellation);
        return SmallModel.Bytes(process.Trainer.Model);
    }

    /// <summary>What a process has that opens a run.</summary>
    private sealed class Process : IDisposable
    {
        private readonly CpuBackend _backend = new(threads: 2);
        private readonly RandomWeights _weights;
        private readonly TrainableModel _model;

        public Process(string folder, int layers = 2, params string[] companions)
        {
            MambaConfig config = SmallModel.Config with { LayerCount = layers };
            _weights = new(config, DataType.Float32, seed: 1);
            _model = new(config, _weights.Tensors, _backend);
            Trainer = new(_model, Batches, Options);
            try
            {
                Run = TrainingRun.Open(folder, Trainer, companions);
            }
            catch
            {
                Free();
                throw;
            }
        }

        public Trainer Trainer { get; }

        public TrainingRun Run { get; }

        public void Dispose()
        {
            Run.Dispose();
            Free();
        }

        private void Free()
        {
            Trainer.Dispose();
            _model.Dispose();
            _weights.Dispose();
            _backend.Dispose();
        }
    }

    private sealed class CancelAt(long step, CancellationTokenSource cancellation) : IProgress<TrainingMetrics>
    {
        public void Report(TrainingMetrics value)
        {
            if (value.Step == step)
            {
                cancellation.Cancel();
            }
        }
    }

    private sealed class StartsAt(long step) : IProgress<TrainingMetrics>
    {
        private bool _started;

        public void Report(TrainingMetrics value)
        {
            Assert.True(_started || value.Step == step, $"The first step is {value.Step}.");
            _started = true;
        }
    }
}
