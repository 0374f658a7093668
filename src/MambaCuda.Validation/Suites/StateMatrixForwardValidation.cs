using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>A = -exp(A_log) against float64.</summary>
public static class StateMatrixForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in StateMatrixCase.All
        select new ValidationRow(nameof(Backend.StateMatrixForward), row.Name, device =>
            Compare(row.LogA(), row.Channels, StateMatrixRunner.Forward(device, row.LogA(), row.Channels)))
        { Work = row.Size * row.Channels };

    /// <summary>How far a result is from float64.</summary>
    public static IReadOnlyList<OutputError> Compare(float[] logA, int channels, float[] actual)
    {
        ArgumentNullException.ThrowIfNull(logA);
        double[] exact = StateMatrixOracle.Forward<double>(logA);
        PlainBound bound = new(exact, StateMatrixOracle.Forward<float>(logA), [.. exact.Select(Math.Abs)], channels);
        return [bound.Worst("A", actual, Enumerable.Repeat(1, logA.Length / channels))];
    }
}
