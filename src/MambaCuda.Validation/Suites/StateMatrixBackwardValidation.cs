using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradient of A_log against float64.</summary>
public static class StateMatrixBackwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in StateMatrixCase.All
        select new ValidationRow(nameof(Backend.StateMatrixBackward), row.Name, device =>
            Compare(row.Gradients(), row.Channels, StateMatrixRunner.Backward(device, row.Gradients(), row.Channels)))
        { Work = row.Size * row.Channels };

    /// <summary>How far a result is from float64.</summary>
    public static IReadOnlyList<OutputError> Compare(StateMatrixGradients inputs, int channels, float[] actual)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        (float[] a, float[] gradA, float[] before) = inputs;
        double[] sizes = StateMatrixOracle.Backward<double>(
            Array.ConvertAll(a, MathF.Abs), Array.ConvertAll(gradA, MathF.Abs), Array.ConvertAll(before, MathF.Abs));
        PlainBound bound = new(
            StateMatrixOracle.Backward<double>(a, gradA, before), StateMatrixOracle.Backward<float>(a, gradA, before), sizes, channels);
        return [bound.Worst("gradient of A_log", actual, Enumerable.Repeat(1, a.Length / channels))];
    }
}
