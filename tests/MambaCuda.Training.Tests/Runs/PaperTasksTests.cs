using MambaCuda.Kernels;
using MambaCuda.Testing;

namespace MambaCuda.Training.Tests;

/// <summary>The paper's synthetic tasks (section 4.1), small enough for the CPU: a selective model learns them to the last answer.</summary>
public sealed class PaperTasksTests
{
    [Fact]
    public void Selective_copying_is_learnt()
    {
        static SelectiveCopyingTask Make(ulong seed) => new(seed, batchSize: 32, length: 12, dataTokens: 2, vocabularySize: 6);
        TokenAccuracy accuracy = Learn(Make(1), steps: 300, Make(2));
        Assert.Equal(64, accuracy.Total);
        Assert.True(accuracy.Share >= 0.95, $"{accuracy.Share:P1} of the answers are right.");
    }

    /// <summary>Trained at length 16, asked at twice that length: what is learnt is a rule, not a place.</summary>
    [Fact]
    public void Induction_heads_are_learnt_and_hold_beyond_the_length_of_training()
    {
        static InductionHeadsTask Make(ulong seed, int length) => new(seed, batchSize: 32, length, vocabularySize: 8);
        TokenAccuracy accuracy = Learn(Make(1, 16), steps: 250, Make(2, 32));
        Assert.Equal(32, accuracy.Total);
        Assert.True(accuracy.Share >= 0.95, $"{accuracy.Share:P1} of the answers are right.");
    }

    /// <summary>Without training the answers are guesses: the measure does not say yes to everything.</summary>
    [Fact]
    public void An_untrained_model_guesses()
    {
        InductionHeadsTask task = new(seed: 3, batchSize: 64, length: 16, vocabularySize: 8);
        Assert.True(Learn(task, steps: 1, task).Share < 0.5);
    }

    private static TokenAccuracy Learn(BatchSource batches, long steps, BatchSource evaluation)
    {
        MambaConfig config = new() { VocabularySize = batches.VocabularySize, HiddenSize = 32, LayerCount = 2 };
        using TemporaryFolder folder = new();
        using CpuBackend backend = new();
        using RandomWeights weights = new(config, DataType.Float32, seed: 1);
        using TrainableModel model = new(config, weights.Tensors, backend);
        using Trainer trainer = new(model, batches, new TrainerOptions
        {
            Steps = steps,
            Schedule = LearningRateSchedule.Cosine(5e-3, warmupSteps: steps / 10, totalSteps: steps, floor: 1e-5),
        });
        using TrainingRun run = TrainingRun.Open(folder.Path, trainer);
        run.Complete(cancellation: TestContext.Current.CancellationToken);
        using MambaModel trained = MambaModel.Load(run.Checkpoint!, backend, cancellation: TestContext.Current.CancellationToken);
        return TaskEvaluation.Measure(trained, evaluation.Batch(0), TestContext.Current.CancellationToken).Accuracy;
    }
}
