namespace MambaCuda.Training;

/// <summary>
/// Gives the batch of every training step. A batch depends on nothing but the source's arguments (its seed among them) and the number of
/// the step, so a run that was stopped goes on from the number of its step alone. Instances do not change once made: one serves any number
/// of threads.
/// </summary>
public abstract class BatchSource
{
    /// <summary>One more than the highest id in any batch: the rows that the model's embedding must have at least.</summary>
    public abstract int VocabularySize { get; }

    /// <summary>How many steps it takes to see everything once; null where samples are made up and never repeat.</summary>
    public virtual long? StepsPerEpoch => null;

    /// <summary>The batch of a step.</summary>
    /// <param name="step">The step, from 0 on. With gradient accumulation, every part of a step has a number of its own.</param>
    /// <exception cref="ArgumentOutOfRangeException">The step is negative.</exception>
    public TokenBatch Batch(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        return Make(step);
    }

    /// <summary>Makes the batch of a step, which is not negative.</summary>
    /// <param name="index">The step.</param>
    protected abstract TokenBatch Make(long index);
}
