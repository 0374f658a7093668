namespace MambaCuda.Kernels.Tests;

/// <summary>Results that may be off by so much and no more.</summary>
internal static class Within
{
    /// <summary>Fails at the first output that is not within its bound.</summary>
    public static void AssertAll(IReadOnlyList<OutputError> outputs, string what = "")
    {
        Assert.NotEmpty(outputs);
        Assert.All(outputs, output => Assert.True(output.IsWithin, what.Length == 0 ? $"{output}" : $"{what}: {output}"));
    }
}
