using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The residual sum and its norm against float64.</summary>
public static class AddRmsNormForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in AddRmsNormCase.All
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.AddRmsNormForward), placement.Of(row.Name), device =>
        {
            AddRmsNormInputs inputs = row.Inputs(device.ActivationType);
            return Compare(inputs, AddRmsNormRunner.Run(device, inputs, placement.Gap, row.Apart), device.ActivationType);
        })
        { Work = row.Rows * row.Channels };

    /// <summary>How far a result is from float64. The residual stream must be the float32 sum, bit for bit.</summary>
    public static IReadOnlyList<OutputError> Compare(AddRmsNormInputs inputs, AddRmsNormResult actual, DataType activation)
    {
        (float[]? x, float[] residual, float[] weight, float epsilon) = inputs;
        (double[] exactSum, double[] exact) = AddRmsNormOracle.Run<double>(x, residual, weight, epsilon);
        (float[] plainSum, float[] plain) = AddRmsNormOracle.Run<float>(x, residual, weight, epsilon);

        // A norm's errors belong to its row. Where x and the residual cancel, the rounding of their sum is large beside it.
        double Size(int i) => exactSum[i] == 0 ? 0 : Math.Abs(exact[i] / exactSum[i]) * (Math.Abs(residual[i]) + Math.Abs(x?[i] ?? 0));
        double[] size = [.. Enumerable.Range(0, exact.Length).Select(Size)];
        PlainBound bound = new(exact, StoredValues.Round(plain, activation), size, columns: 1)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        return
        [
            OutputError.Exactly("residual", plainSum, actual.Residual),
            bound.Worst("y", actual.Y, Enumerable.Repeat(inputs.Channels, inputs.Rows)),
        ];
    }
}
