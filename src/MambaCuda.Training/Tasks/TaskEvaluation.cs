using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>How well a model answers a task's batches, at any length: only the answers' logits are made.</summary>
public static class TaskEvaluation
{
    /// <summary>Runs a batch, one sequence after the other, and looks at the logits where an answer is asked for.</summary>
    /// <param name="model">The model.</param>
    /// <param name="batch">A batch of a task.</param>
    /// <param name="cancellation">Ends it between two sequences.</param>
    public static TaskScore Measure(MambaModel model, TokenBatch batch, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(batch);
        int[] predicted = new int[batch.Tokens.Length];
        double loss = 0;
        using MambaState state = model.CreateState();
        for (int sequence = 0; sequence < batch.Layout.Count; sequence++)
        {
            cancellation.ThrowIfCancellationRequested();
            int start = (int)batch.Layout.Starts[sequence], end = (int)batch.Layout.Starts[sequence + 1];
            int asked = batch.Targets[start..end].IndexOfAnyExcept(TokenBatch.IgnoredTarget);
            if (asked < 0)
            {
                continue;
            }

            state.Reset();
            if (asked > 0)
            {
                model.Forward(batch.Tokens.Slice(start, asked), SequenceLayout.Uniform(1, asked), state, []);
            }

            int rest = end - start - asked;
            float[] logits = new float[rest * model.Config.VocabularySize];
            model.Forward(batch.Tokens.Slice(start + asked, rest), SequenceLayout.Uniform(1, rest), state, logits, every: true);
            for (int i = 0; i < rest; i++)
            {
                ReadOnlySpan<float> row = logits.AsSpan(i * model.Config.VocabularySize, model.Config.VocabularySize);
                int largest = predicted[start + asked + i] = Sampler.IndexOfLargest(row);
                int target = batch.Targets[start + asked + i];
                loss += target == TokenBatch.IgnoredTarget ? 0 : CrossEntropy(row, target, row[largest]);
            }
        }

        return new TaskScore(TokenAccuracy.Of(batch, predicted), loss / batch.TargetCount);
    }

    /// <summary>In float64, from the differences to the target's logit, so that a loss far below float32's spacing at 1 is told from none.</summary>
    private static double CrossEntropy(ReadOnlySpan<float> logits, int target, double largest)
    {
        double others = 0;
        for (int id = 0; id < logits.Length; id++)
        {
            others += id == target ? 0 : Math.Exp(logits[id] - largest);
        }

        double own = logits[target] - largest;
        // log(1 + others / own) where the target leads, or close to it.
        return own > -1 ? double.LogP1(others / Math.Exp(own)) : Math.Log(others + Math.Exp(own)) - own;
    }
}
