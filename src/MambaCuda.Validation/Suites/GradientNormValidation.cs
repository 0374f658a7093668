using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The norm of gradients against float64.</summary>
public static class GradientNormValidation
{
    // One block and many; squares that float32 cannot hold.
    private static readonly (int Count, float Size)[] Cases = [(1, 1), (33, 1), (257, 1e30f), (5000, 1e-30f), (100_003, 1), (3_000_001, 1)];

    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in Cases
        from placement in new[] { RowPlacement.Usual, RowPlacement.Aligned }
        let name = FormattableString.Invariant($"n{row.Count} times {row.Size}")
        select new ValidationRow(nameof(Backend.GradientNorm), placement.Of(name), device =>
        {
            float[] gradients = new RandomValues(name).Normal(row.Count, 0, row.Size);
            return Compare(gradients, Run(device, gradients, placement.Gap));
        })
        { Work = row.Count };

    private static float Run(Backend backend, float[] gradients, int gap)
    {
        using GuardedMatrix input = GuardedMatrix.Input(backend, DataType.Float32, 1, gradients.Length, gradients, gap);
        using GuardedMatrix norm = GuardedMatrix.Output(backend, DataType.Float32, 1, 1);
        backend.GradientNorm(new GradientNormArgs { Gradients = input.View, Norm = norm.View });
        input.AssertUnchanged("gradients");
        norm.AssertGuardsIntact("norm");
        return norm.Values()[0];
    }

    // Two units: that of the result's rounding, and one for sums in another order.
    private static IReadOnlyList<OutputError> Compare(float[] gradients, float actual)
    {
        double exact = Math.Sqrt(gradients.Sum(value => (double)value * value));
        return [new OutputError("norm", Math.Abs(actual - exact), Math.Pow(2, -23) * exact)];
    }
}
