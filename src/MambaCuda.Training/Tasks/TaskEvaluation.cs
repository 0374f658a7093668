using MambaCuda.Kernels;

namespace MambaCuda.Training;

/// <summary>How many answers of a task's batches a model gives right, at any length: only the answers' logits are made.</summary>
public static class TaskEvaluation
{
    /// <summary>Runs a batch, one sequence after the other, and compares the most likely id where an answer is asked for.</summary>
    /// <param name="model">The model.</param>
    /// <param name="batch">A batch of a task.</param>
    /// <param name="cancellation">Ends it between two sequences.</param>
    public static TokenAccuracy Measure(MambaModel model, TokenBatch batch, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(batch);
        int[] predicted = new int[batch.Tokens.Length];
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
                predicted[start + asked + i] = Sampler.IndexOfLargest(row);
            }
        }

        return TokenAccuracy.Of(batch, predicted);
    }
}
