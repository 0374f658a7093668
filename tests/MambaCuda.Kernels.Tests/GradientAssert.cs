using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>Comparison of the gradients of an operation, each beside the name of its operand.</summary>
internal static class GradientAssert
{
    /// <summary>Fails where the relative norm of the difference is over a bound, or NaN.</summary>
    public static void Near(float[] expected, float[] actual, double bound, string what)
    {
        double deviation = Deviation.RelativeNorm(actual, expected);
        Assert.True(deviation <= bound, $"The gradient of {what} deviates by {deviation:E2}.");
    }

    /// <summary>Fails where bits differ of what both have.</summary>
    public static void Same(IEnumerable<(string Operand, float[]? Expected, float[]? Actual)> gradients, string how)
    {
        foreach ((string operand, float[]? expected, float[]? actual) in gradients)
        {
            if (expected is not null && actual is not null)
            {
                Bits.AssertSame(expected, actual, $"gradient of {operand}, {how}");
            }
        }
    }

    /// <summary>Fails where one is NaN and the other is not.</summary>
    public static void SameNaN(IEnumerable<(string Operand, double[]? Exact, float[]? Actual)> gradients)
    {
        foreach ((string operand, double[]? exact, float[]? actual) in gradients)
        {
            for (int i = 0; i < exact!.Length; i++)
            {
                bool same = double.IsNaN(exact[i]) == float.IsNaN(actual![i]);
                Assert.True(same, $"Element {i} of the gradient of {operand} is {actual[i]}, not {exact[i]}.");
            }
        }
    }
}
