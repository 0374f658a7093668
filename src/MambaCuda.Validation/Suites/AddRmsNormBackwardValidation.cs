using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradients of the residual sum and its norm against float64.</summary>
public static class AddRmsNormBackwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in AddRmsNormBackwardCase.All
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.AddRmsNormBackward), placement.Of(row.Name), device =>
        {
            AddRmsNormBackwardInputs inputs = row.Inputs(device.ActivationType);
            return Compare(inputs, AddRmsNormBackwardRunner.Run(device, inputs, placement.Gap), device.ActivationType);
        })
        { Work = row.Rows * row.Channels };

    /// <summary>
    /// How far gradients are from float64; all that there are must have been asked for. The gradient of x must be that of the residual
    /// stream, rounded.
    /// </summary>
    public static IReadOnlyList<OutputError> Compare(AddRmsNormBackwardInputs inputs, AddRmsNormBackwardResult actual, DataType activation)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(actual);
        (double[] exactResidual, double[] exactWeight) = Oracle<double>(inputs);
        (float[] plainResidual, float[] plainWeight) = Oracle<float>(inputs);
        (double[] residualSizes, double[] weightSizes) = AddRmsNormBackwardOracle.Sizes(
            inputs.Residual, inputs.Weight, inputs.GradY, inputs.GradResidual, inputs.GradWeight, inputs.Epsilon);
        (_, double[] exactY) = AddRmsNormOracle.Run<double>(null, inputs.Residual, inputs.Weight, inputs.Epsilon);
        (_, float[] plainY) = AddRmsNormOracle.Run<float>(null, inputs.Residual, inputs.Weight, inputs.Epsilon);

        // A norm's errors belong to its row, and through the row's scale to all channels of the weight.
        PlainBound residual = new(exactResidual, plainResidual, residualSizes, columns: 1);
        PlainBound weight = new(exactWeight, plainWeight, weightSizes, columns: 1);
        PlainBound y = new(exactY, StoredValues.Round(plainY, activation), [.. exactY.Select(Math.Abs)], columns: 1)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        IEnumerable<int> rows = Enumerable.Repeat(inputs.Channels, inputs.Rows);
        return
        [
            residual.Worst("grad residual", actual.GradResidual, rows),
            OutputError.Exactly("grad x", StoredValues.Round(actual.GradResidual, activation), actual.GradX!),
            weight.Worst("grad weight", actual.GradWeight!, [inputs.Channels]),
            y.Worst("y", actual.Y!, rows),
        ];
    }

    private static (T[] Residual, T[] Weight) Oracle<T>(AddRmsNormBackwardInputs inputs)
        where T : System.Numerics.IFloatingPointIeee754<T> => AddRmsNormBackwardOracle.Run<T>(
            inputs.Residual, inputs.Weight, inputs.GradY, inputs.GradResidual, inputs.GradWeight, inputs.Epsilon);
}
