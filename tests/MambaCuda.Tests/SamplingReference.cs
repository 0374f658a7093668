namespace MambaCuda.Tests;

/// <summary>The distribution that a sampler is to draw from, written out over the whole sorted vocabulary, and whether draws follow it.</summary>
internal static class SamplingReference
{
    public static double[] Softmax(IEnumerable<float> logits, double temperature)
    {
        double[] exponentials = [.. logits.Select(logit => Math.Exp(logit / temperature))];
        return [.. exponentials.Select(value => value / exponentials.Sum())];
    }

    /// <summary>The probability of each token.</summary>
    public static double[] Probabilities(SamplingOptions options, ReadOnlySpan<float> given, int[] seen)
    {
        float[] logits = given.ToArray();
        if (options.HasPenalties)
        {
            foreach (IGrouping<int, int> token in seen.GroupBy(id => id))
            {
                float logit = logits[token.Key];
                logits[token.Key] = (logit > 0 ? logit / options.RepetitionPenalty : logit * options.RepetitionPenalty)
                    - options.PresencePenalty - (token.Count() * options.FrequencyPenalty);
            }
        }

        if (options.Temperature == 0)
        {
            int best = Array.IndexOf(logits, logits.Max());
            return [.. logits.Select((_, id) => id == best ? 1.0 : 0)];
        }

        double[] probabilities = Softmax(logits, options.Temperature);
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(id => probabilities[id]).ThenBy(id => id)];
        int kept = options.TopK > 0 ? Math.Min(options.TopK, order.Length) : order.Length;
        double total = order.Take(kept).Sum(id => probabilities[id]), sum = 0;
        for (int i = 0; i < kept; i++)
        {
            sum += probabilities[order[i]];
            if (sum >= options.TopP * total)
            {
                kept = i + 1;
            }
        }

        HashSet<int> left = [.. order.Take(kept).Where(id => probabilities[id] >= options.MinP * probabilities[order[0]])];
        double rest = left.Sum(id => probabilities[id]);
        return [.. probabilities.Select((probability, id) => left.Contains(id) ? probability / rest : 0)];
    }

    /// <summary>Pearson's chi-squared test of counts; tokens expected fewer than five times are one class.</summary>
    public static void AssertFollows(ReadOnlySpan<int> counts, double[] probabilities)
    {
        double draws = 0, rareExpected = 0, rareCount = 0, chiSquared = 0;
        int classes = 0;
        foreach (int count in counts)
        {
            draws += count;
        }

        void Add(double count, double expected)
        {
            chiSquared += Math.Pow(count - expected, 2) / expected;
            classes++;
        }

        for (int id = 0; id < counts.Length; id++)
        {
            double expected = draws * probabilities[id];
            Assert.True(expected > 0 || counts[id] == 0, $"token {id} was filtered out, but drawn {counts[id]} times");
            if (expected >= 5)
            {
                Add(counts[id], expected);
            }
            else
            {
                (rareCount, rareExpected) = (rareCount + counts[id], rareExpected + expected);
            }
        }

        if (rareExpected > 0)
        {
            Add(rareCount, Math.Max(rareExpected, 1));
        }

        // The quantile of 99.99 % by Wilson and Hilferty (1931); with one class nothing is left to chance.
        int freedom = classes - 1;
        double spread = freedom == 0 ? 0 : 2 / (9.0 * freedom);
        double limit = freedom == 0 ? 1e-9 : freedom * Math.Pow(1 - spread + (3.719 * Math.Sqrt(spread)), 3);
        Assert.True(chiSquared <= limit, $"chi-squared {chiSquared:f1} with {freedom} degrees of freedom, limit {limit:f1}");
    }
}
