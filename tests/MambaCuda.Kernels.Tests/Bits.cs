namespace MambaCuda.Kernels.Tests;

/// <summary>Comparison of results that must be the same to the last bit.</summary>
internal static class Bits
{
    /// <summary>Fails at the first element whose bits differ.</summary>
    public static void AssertSame(float[] expected, float[] actual, string what)
    {
        Assert.True(expected.Length == actual.Length, $"{what}: {actual.Length} elements instead of {expected.Length}.");
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(
                BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(actual[i]),
                $"{what}: element {i} of {expected.Length} is {actual[i]:R} instead of {expected[i]:R}.");
        }
    }
}
