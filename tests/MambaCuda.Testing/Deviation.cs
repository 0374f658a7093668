namespace MambaCuda.Testing;

/// <summary>How far a result is from what it should be. NaN in either makes the figure NaN, and NaN is not below any bound.</summary>
public static class Deviation
{
    /// <summary>The norm of the difference over the norm of the expected values; the plain norm where those are all zero.</summary>
    public static double RelativeNorm(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        CheckLengths(actual, expected);
        double difference = 0, size = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double d = (double)actual[i] - expected[i];
            difference += d * d;
            size += (double)expected[i] * expected[i];
        }

        return size == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference / size);
    }

    /// <summary>The largest absolute difference.</summary>
    public static double Largest(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        CheckLengths(actual, expected);
        double largest = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double d = Math.Abs((double)actual[i] - expected[i]);
            if (double.IsNaN(d))
            {
                return double.NaN;
            }

            largest = Math.Max(largest, d);
        }

        return largest;
    }

    private static void CheckLengths(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        if (actual.Length != expected.Length)
        {
            throw new ArgumentException($"{actual.Length} values were compared with {expected.Length}.");
        }
    }
}
