using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>log softmax(logits)[token] of each row.</summary>
public static class LogProbabilitiesOracle
{
    /// <summary>Judges one token of each row of logits, (rows, vocabulary).</summary>
    public static T[] Run<T>(float[] logits, int[] tokens) where T : IFloatingPointIeee754<T>
    {
        int vocabulary = logits.Length / tokens.Length;
        T[] result = new T[tokens.Length];
        for (int row = 0; row < tokens.Length; row++)
        {
            T[] values = [.. logits.Skip(row * vocabulary).Take(vocabulary).Select(T.CreateChecked)];
            T largest = values.Aggregate(T.Max);
            T sum = values.Aggregate(T.Zero, (sum, value) => sum + T.Exp(value - largest));
            result[row] = values[tokens[row]] - largest - T.Log(sum);
        }

        return result;
    }
}
