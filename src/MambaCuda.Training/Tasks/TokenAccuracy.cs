namespace MambaCuda.Training;

/// <summary>How many targets were predicted.</summary>
/// <param name="Correct">The targets that were predicted.</param>
/// <param name="Total">The targets that were asked for.</param>
public readonly record struct TokenAccuracy(long Correct, long Total)
{
    /// <summary>The share of correct ones, from 0 to 1; not a number where none was asked for.</summary>
    public double Share => (double)Correct / Total;

    /// <summary>Both counts together.</summary>
    public static TokenAccuracy operator +(TokenAccuracy left, TokenAccuracy right) => left.Add(right);

    /// <summary>Both counts together.</summary>
    public TokenAccuracy Add(TokenAccuracy other) => new(Correct + other.Correct, Total + other.Total);

    /// <summary>Counts the targets of a batch that were predicted; ignored ones are not asked for.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="predicted">The most likely id at every row, (rows).</param>
    public static TokenAccuracy Of(TokenBatch batch, ReadOnlySpan<int> predicted)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (predicted.Length != batch.Targets.Length)
        {
            throw new ArgumentException(
                $"{predicted.Length} predicted ids were given for {batch.Targets.Length} rows.", nameof(predicted));
        }

        int correct = 0;
        for (int row = 0; row < predicted.Length; row++)
        {
            if (batch.Targets[row] != TokenBatch.IgnoredTarget && batch.Targets[row] == predicted[row])
            {
                correct++;
            }
        }

        return new TokenAccuracy(correct, batch.TargetCount);
    }
}
