namespace MambaCuda.Validation;

/// <summary>
/// Derivatives of an oracle in float64 by what it gives a little to either side, so that a backward oracle is not checked against itself.
/// </summary>
public static class FiniteDifferences
{
    private const float Step = 1f / 64;

    /// <summary>
    /// The derivative of a function with respect to each of some values, by central differences over two widths, extrapolated: the error is
    /// of the fourth power of the step. Values are changed in place, one after the other, and put back.
    /// </summary>
    /// <param name="values">The values that the function reads, of about unit size.</param>
    /// <param name="function">The function.</param>
    public static double[] Gradient(float[] values, Func<double> function)
    {
        double[] gradient = new double[values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            gradient[i] = ((4 * Difference(values, i, Step, function)) - Difference(values, i, 2 * Step, function)) / 3;
        }

        return gradient;
    }

    /// <summary>The largest difference of two gradients, measured by the second's largest element; NaN where one has one.</summary>
    public static double Deviation(double[] actual, double[] expected) =>
        actual.Zip(expected, (a, b) => Math.Abs(a - b)).Aggregate(0.0, Math.Max) / Math.Max(1e-3, expected.Max(Math.Abs));

    private static double Difference(float[] values, int i, float step, Func<double> function)
    {
        float before = values[i];
        float above = before + step, below = before - step;
        values[i] = above;
        double high = function();
        values[i] = below;
        double low = function();
        values[i] = before;

        // The distance as float32 rounded it.
        return (high - low) / ((double)above - below);
    }
}
