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

    /// <summary>Against the logits of the whole batch; then with a model so sure that float32's softmax is exactly 1 or 0.</summary>
    [Theory]
    [InlineData(1f), InlineData(300f)]
    public unsafe void The_loss_of_a_task_is_the_mean_cross_entropy_of_its_answers(float sureness)
    {
        SelectiveCopyingTask task = new(seed: 4, batchSize: 3, length: 10, dataTokens: 2, vocabularySize: 6);
        TokenBatch batch = task.Batch(0);
        MambaConfig config = SmallModel.Config with { VocabularySize = task.VocabularySize };
        using CpuBackend backend = new();
        using RandomWeights weights = new(config, DataType.Float32, seed: 1);
        const string LastNorm = "backbone.norm_f.weight";
        using NativeHostMemory scale = new(config.HiddenSize * sizeof(float));
        new Span<float>(scale.Pointer, config.HiddenSize).Fill(sureness);
        Dictionary<string, StoredTensor> tensors = new(weights.Tensors)
        {
            [LastNorm] = new StoredTensor(LastNorm, DataType.Float32, [config.HiddenSize], scale),
        };
        using MambaModel model = MambaModel.Create(config, tensors, backend);
        float[] logits = new float[batch.Tokens.Length * 6];
        using MambaState state = model.CreateState(3);
        model.Forward(batch.Tokens, batch.Layout, state, logits, every: true);
        double loss = 0;
        foreach (int row in batch.TargetRows())
        {
            ReadOnlySpan<float> own = logits.AsSpan(row * 6, 6);
            double largest = own.ToArray().Max(), sum = own.ToArray().Sum(logit => Math.Exp(logit - largest));
            loss += Math.Log(sum) + largest - own[batch.Targets[row]];
        }

        TaskScore score = TaskEvaluation.Measure(model, batch, TestContext.Current.CancellationToken);
        Assert.Equal(loss / batch.TargetCount, score.Loss, 1e-4 * sureness);
        Assert.True(score.Loss > 0);
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
