using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>
/// The probabilities that tokens have when one is sampled: each step written out over the sorted vocabulary, in float64 from the penalized
/// logits on. Those are float32, since which of them are equal decides which are kept.
/// </summary>
public static class SampleTokensOracle
{
    /// <summary>The probability of each token of a row.</summary>
    /// <param name="logits">The row's logits.</param>
    /// <param name="counts">How many times each token was seen; empty for no penalties.</param>
    /// <param name="options">How it is chosen.</param>
    public static double[] Run(ReadOnlySpan<float> logits, ReadOnlySpan<int> counts, TokenSampling options)
    {
        float[] values = logits.ToArray();
        for (int id = 0; id < counts.Length; id++)
        {
            if (counts[id] > 0)
            {
                float repeated = values[id] > 0 ? values[id] / options.RepetitionPenalty : values[id] * options.RepetitionPenalty;
                values[id] = repeated - options.PresencePenalty - (counts[id] * options.FrequencyPenalty);
            }
        }

        int[] order = [.. Enumerable.Range(0, values.Length).OrderByDescending(id => values[id]).ThenBy(id => id)];
        double[] probabilities = new double[values.Length];
        if (options.Temperature == 0)
        {
            probabilities[order[0]] = 1;
            return probabilities;
        }

        double Weight(int id) => Math.Exp(((double)values[id] - values[order[0]]) / options.Temperature);
        int kept = options.TopK > 0 ? Math.Min(options.TopK, order.Length) : order.Length;
        if (options.TopP < 1)
        {
            double total = order.Take(kept).Sum(Weight), sum = 0;
            for (int i = 0; i < kept; i++)
            {
                sum += Weight(order[i]);
                kept = sum >= options.TopP * total ? i + 1 : kept;
            }
        }

        int[] left = [.. order.Take(kept).Where(id => Weight(id) >= options.MinP)];
        double all = left.Sum(Weight);
        foreach (int id in left)
        {
            probabilities[id] = Weight(id) / all;
        }

        return probabilities;
    }
}
