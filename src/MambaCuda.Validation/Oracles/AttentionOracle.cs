using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>What attention leaves: y, (tokens, heads * head size), and the logarithm of the sum of each query's weights, (heads, tokens).</summary>
public sealed record AttentionResult<T>(T[] Y, T[] LogSumExp);

/// <summary>The gradients of attention, each (tokens, heads * head size).</summary>
public sealed record AttentionGradients<T>(T[] GradQ, T[] GradK, T[] GradV);

/// <summary>Causal attention as its formula has it, one query after the other, all its weights at once.</summary>
public static class AttentionOracle
{
    /// <summary>The forward pass; of the last token of each sequence only, where that is asked for: the other rows are zero then.</summary>
    public static AttentionResult<T> Run<T>(AttentionInputs inputs, bool lastOnly = false) where T : IFloatingPointIeee754<T>
    {
        ArgumentNullException.ThrowIfNull(inputs);
        AttentionResult<T> result = new(new T[inputs.Q.Length], new T[inputs.Heads * inputs.Tokens]);
        ForEachQuery(inputs, lastOnly, (head, start, query) =>
        {
            (T[] weights, T logSumExp) = Weights<T>(inputs, head, start, query);
            result.LogSumExp[(head * inputs.Tokens) + query] = logSumExp;
            for (int d = 0; d < inputs.HeadSize; d++)
            {
                T sum = T.Zero;
                for (int i = 0; i < weights.Length; i++)
                {
                    sum += weights[i] * T.CreateChecked(inputs.V[At(inputs, start + i, head) + d]);
                }

                result.Y[At(inputs, query, head) + d] = sum;
            }
        });
        return result;
    }

    /// <summary>
    /// What the terms of each result amount to without their signs, against which rounding is to be measured; and the terms of its score,
    /// by which each weight is off too, in units of their own.
    /// </summary>
    /// <param name="inputs">The operands.</param>
    /// <param name="scoreUnits">The unit roundoff that scores are computed to, in units of that of results.</param>
    /// <param name="lastOnly">Of the last token of each sequence only.</param>
    public static AttentionResult<double> RunMagnitudes(AttentionInputs inputs, double scoreUnits, bool lastOnly = false)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        double[] y = Run<double>(inputs, lastOnly).Y;
        AttentionResult<double> result = new(new double[inputs.Q.Length], new double[inputs.Heads * inputs.Tokens]);
        ForEachQuery(inputs, lastOnly, (head, start, query) =>
        {
            (double[] weights, double logSumExp) = Weights<double>(inputs, head, start, query);
            double[] sizes = Sizes(inputs, head, start, query);
            result.LogSumExp[(head * inputs.Tokens) + query] = 1 + Math.Abs(logSumExp) + weights.Zip(sizes, (weight, size) => weight * size).Sum();
            for (int d = 0; d < inputs.HeadSize; d++)
            {
                double sum = 0;
                for (int i = 0; i < weights.Length; i++)
                {
                    double value = Math.Abs(inputs.V[At(inputs, start + i, head) + d]);
                    sum += weights[i] * (value + (scoreUnits * sizes[i] * (value + Math.Abs(y[At(inputs, query, head) + d]))));
                }

                result.Y[At(inputs, query, head) + d] = sum;
            }
        });
        return result;
    }

    /// <summary>The gradients of sum(y * gradY), by the chain rule.</summary>
    public static AttentionGradients<T> RunBackward<T>(AttentionInputs inputs, float[] gradY) where T : IFloatingPointIeee754<T>
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(gradY);
        T[] y = Run<T>(inputs).Y;
        return Backward<T>(inputs, gradY, (head, start, query, weights) =>
        {
            T delta = T.Zero;
            for (int d = 0; d < inputs.HeadSize; d++)
            {
                delta += T.CreateChecked(gradY[At(inputs, query, head) + d]) * y[At(inputs, query, head) + d];
            }

            T[] slopes = [.. weights.Select((weight, i) => weight * (Product<T>(inputs, gradY, query, inputs.V, start + i, head) - delta))];
            return (weights, slopes);
        });
    }

    /// <summary>The sizes of the terms of each gradient; see <see cref="RunMagnitudes"/>.</summary>
    public static AttentionGradients<double> RunBackwardMagnitudes(AttentionInputs inputs, float[] gradY, double scoreUnits)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        double[] y = Run<double>(inputs).Y;
        float[] sizesOfY = [.. y.Select(value => (float)Math.Abs(value))];
        float[] grad = [.. gradY.Select(MathF.Abs)], values = [.. inputs.V.Select(MathF.Abs)];
        AttentionInputs without = inputs with { Q = [.. inputs.Q.Select(MathF.Abs)], K = [.. inputs.K.Select(MathF.Abs)] };
        return Backward<double>(without, grad, (head, start, query, _) =>
        {
            double[] weights = Weights<double>(inputs, head, start, query).Weights;
            double[] sizes = Sizes(inputs, head, start, query);
            double delta = Product<double>(inputs, grad, query, sizesOfY, query, head);
            double[] sized = [.. weights.Select((weight, i) => weight * (1 + (scoreUnits * sizes[i])))];
            return (sized, [.. sized.Select((weight, i) => weight * (Product<double>(inputs, grad, query, values, start + i, head) + delta))]);
        });
    }

    private static AttentionGradients<T> Backward<T>(
        AttentionInputs inputs, float[] gradY, Func<int, int, int, T[], (T[] Weights, T[] Slopes)> slopesOf)
        where T : IFloatingPointIeee754<T>
    {
        AttentionGradients<T> gradients = new(new T[inputs.Q.Length], new T[inputs.Q.Length], new T[inputs.Q.Length]);
        T scale = T.CreateChecked(inputs.ChosenScale);
        ForEachQuery(inputs, lastOnly: false, (head, start, query) =>
        {
            (T[] weights, T[] slopes) = slopesOf(head, start, query, Weights<T>(inputs, head, start, query).Weights);
            int mine = At(inputs, query, head);
            for (int i = 0; i < weights.Length; i++)
            {
                int other = At(inputs, start + i, head);
                for (int d = 0; d < inputs.HeadSize; d++)
                {
                    gradients.GradQ[mine + d] += scale * slopes[i] * T.CreateChecked(inputs.K[other + d]);
                    gradients.GradK[other + d] += scale * slopes[i] * T.CreateChecked(inputs.Q[mine + d]);
                    gradients.GradV[other + d] += weights[i] * T.CreateChecked(gradY[mine + d]);
                }
            }
        });
        return gradients;
    }

    private static void ForEachQuery(AttentionInputs inputs, bool lastOnly, Action<int, int, int> action)
    {
        for (int head = 0; head < inputs.Heads; head++)
        {
            int start = 0;
            foreach (int length in inputs.Lengths)
            {
                for (int query = lastOnly ? start + length - 1 : start; query < start + length; query++)
                {
                    action(head, start, query);
                }

                start += length;
            }
        }
    }

    private static int At(AttentionInputs inputs, int row, int head) => (row * inputs.Columns) + (head * inputs.HeadSize);

    private static T Product<T>(AttentionInputs inputs, float[] left, int leftRow, float[] right, int rightRow, int head)
        where T : IFloatingPointIeee754<T>
    {
        T sum = T.Zero;
        for (int d = 0; d < inputs.HeadSize; d++)
        {
            sum += T.CreateChecked(left[At(inputs, leftRow, head) + d]) * T.CreateChecked(right[At(inputs, rightRow, head) + d]);
        }

        return sum;
    }

    /// <summary>The weights of the keys from the sequence's start to the query.</summary>
    private static (T[] Weights, T LogSumExp) Weights<T>(AttentionInputs inputs, int head, int start, int query) where T : IFloatingPointIeee754<T>
    {
        T[] scores = new T[query - start + 1];
        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] = T.CreateChecked(inputs.ChosenScale) * Product<T>(inputs, inputs.Q, query, inputs.K, start + i, head);
        }

        T largest = scores.Aggregate(T.Max);
        T[] terms = Array.ConvertAll(scores, score => T.Exp(score - largest));
        T sum = terms.Aggregate(T.Zero, (sum, term) => sum + term);
        return (Array.ConvertAll(terms, term => term / sum), largest + T.Log(sum));
    }

    /// <summary>The sum of each score's terms without their signs.</summary>
    private static double[] Sizes(AttentionInputs inputs, int head, int start, int query)
    {
        double[] sizes = new double[query - start + 1];
        for (int i = 0; i < sizes.Length; i++)
        {
            for (int d = 0; d < inputs.HeadSize; d++)
            {
                sizes[i] += inputs.ChosenScale * Math.Abs((double)inputs.Q[At(inputs, query, head) + d] * inputs.K[At(inputs, start + i, head) + d]);
            }
        }

        return sizes;
    }
}
