using System.Numerics;
using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Softmax cross-entropy with z-loss, row by row.</summary>
public static class CrossEntropyOracle
{
    /// <summary>
    /// Gives the loss of each row, not scaled, the scaled gradient of the logits, (rows, vocabulary), and the logarithm of each row's sum
    /// of exponentials.
    /// </summary>
    public static (T[] Losses, T[] GradLogits, T[] Normalisers) Run<T>(float[] logits, int[] targets, float zLossWeight, float gradScale)
        where T : IFloatingPointIeee754<T>
    {
        int vocabulary = logits.Length / targets.Length;
        T[] losses = new T[targets.Length], gradient = new T[logits.Length], normalisers = new T[targets.Length];
        T weight = T.CreateChecked(zLossWeight), scale = T.CreateChecked(gradScale);
        for (int row = 0; row < targets.Length; row++)
        {
            T[] values = Array.ConvertAll(logits[(row * vocabulary)..((row + 1) * vocabulary)], T.CreateChecked);
            T largest = values.Aggregate(T.Max);
            T sum = values.Aggregate(T.Zero, (sum, value) => sum + T.Exp(value - largest));
            normalisers[row] = largest + T.Log(sum);
            int target = targets[row];
            if (target == CrossEntropyArgs.IgnoredTarget)
            {
                continue;
            }

            losses[row] = normalisers[row] - values[target] + (weight * normalisers[row] * normalisers[row]);
            T factor = T.One + (T.CreateChecked(2) * weight * normalisers[row]);
            for (int i = 0; i < vocabulary; i++)
            {
                T probability = T.Exp(values[i] - largest) / sum;
                gradient[(row * vocabulary) + i] = scale * ((probability * factor) - (i == target ? T.One : T.Zero));
            }
        }

        return (losses, gradient, normalisers);
    }
}
