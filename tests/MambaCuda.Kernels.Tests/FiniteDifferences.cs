namespace MambaCuda.Kernels.Tests;

/// <summary>
/// Derivatives of a float64 function of float32 operands by central differences, two steps combined so that the error is of fourth order.
/// </summary>
internal static class FiniteDifferences
{
    private const float Step = 1f / 128;

    /// <summary>Values between which and their neighbours at a step's distance nothing is rounded: multiples of 2^-12.</summary>
    public static float[] Exact(float[] values) => [.. values.Select(value => MathF.Round(value * 4096) / 4096)];

    /// <summary>Fails where a gradient is not the derivative of <paramref name="loss"/> by the elements of an operand.</summary>
    public static void AssertGradient(string what, float[] operand, double[] gradient, Func<float[], double> loss)
    {
        double error = 0, size = 0;
        for (int i = 0; i < operand.Length; i++)
        {
            double Central(float step) => (Loss(step) - Loss(-step)) / (2 * step);
            double Loss(float step)
            {
                float[] moved = [.. operand];
                moved[i] += step;
                return loss(moved);
            }

            double derivative = ((4 * Central(Step / 2)) - Central(Step)) / 3;
            error += Math.Pow(derivative - gradient[i], 2);
            size += Math.Pow(derivative, 2);
        }

        Assert.Equal(operand.Length, gradient.Length);
        Assert.True(
            Math.Sqrt(error) <= 1e-6 * Math.Sqrt(size), $"The gradient of {what} is off by {Math.Sqrt(error):E2} of {Math.Sqrt(size):E2}.");
    }
}
