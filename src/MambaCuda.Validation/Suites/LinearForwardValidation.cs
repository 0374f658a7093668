using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The linear layer against float64: as the backend chooses to compute it, then in each of the ways that it has.</summary>
public static class LinearForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        foreach (LinearCase row in LinearCase.All)
        {
            yield return Row(row, RowPlacement.Usual, null);
        }

        foreach (RowPlacement placement in new[] { RowPlacement.Usual, RowPlacement.Aligned })
        {
            foreach (LinearCase row in LinearCase.ForVariants(backend.ActivationType, placement))
            {
                yield return Row(row, placement, null);
                foreach (LinearVariant variant in LinearRunner.Variants(backend, row.Operands(backend.ActivationType), placement.Gap))
                {
                    yield return Row(row, placement, variant);
                }
            }

            foreach (LinearCase row in LinearCase.ForTypes(backend.ActivationType, placement))
            {
                IEnumerable<LinearVariant> variants = LinearRunner.Variants(backend, row.Operands(backend.ActivationType), placement.Gap);
                foreach (LinearVariant variant in variants.Where(each => each.Splits == 1))
                {
                    yield return Row(row, placement, variant);
                }
            }

            foreach (QuantizedLinearCase row in QuantizedLinearCase.All)
            {
                yield return Row(row, placement, null);
                foreach (LinearVariant variant in LinearRunner.Variants(backend, row.Operands(backend.ActivationType), placement.Gap))
                {
                    yield return Row(row, placement, variant);
                }
            }
        }
    }

    /// <summary>How far a result is from float64.</summary>
    /// <param name="inputs">The operands.</param>
    /// <param name="actual">The result.</param>
    /// <param name="roundedWeights">
    /// The type that the plain evaluation rounds quantized weights to; null where it is to take them as they are.
    /// </param>
    public static IReadOnlyList<OutputError> Compare(LinearInputs inputs, float[] actual, DataType? roundedWeights = null)
    {
        (float[] x, float[] weight, float[]? bias) = (inputs.X, inputs.Weight, inputs.Bias);
        (int rows, int outputs, int terms) = (inputs.RowCount, inputs.Outputs, inputs.Inputs);
        float[] plainWeight = roundedWeights is { } type ? StoredValues.Round(weight, type) : weight;
        float[] plain = StoredValues.Round(LinearOracle.Run<float>(x, plainWeight, bias, rows, outputs, terms), inputs.ResultType);
        float[]? biasSize = bias?.Select(MathF.Abs).ToArray();
        double[] size = LinearOracle.Run<double>(
            [.. x.Select(MathF.Abs)], [.. weight.Select(MathF.Abs)], biasSize, rows, outputs, terms);
        PlainBound bound = new(LinearOracle.Run<double>(x, weight, bias, rows, outputs, terms), plain, size, outputs)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(inputs.ResultType),
        };
        return [bound.Worst("y", actual, [rows])];
    }

    private static ValidationRow Row(LinearCase row, RowPlacement placement, LinearVariant? variant) =>
        new(nameof(Backend.LinearForward), placement.Of(row.Name), device =>
        {
            LinearInputs inputs = row.Operands(device.ActivationType);
            return Compare(inputs, LinearRunner.Run(device, inputs, placement.Gap, variant));
        })
        { Variant = variant?.ToString(), Work = (long)row.Rows * row.Outputs * row.Inputs };

    private static ValidationRow Row(QuantizedLinearCase row, RowPlacement placement, LinearVariant? variant) =>
        new(nameof(Backend.LinearForward), placement.Of(row.Name), device =>
        {
            LinearInputs inputs = row.Operands(device.ActivationType);
            float[] actual = LinearRunner.Run(device, inputs, placement.Gap, variant);
            return Compare(inputs, actual, LinearRunner.RoundedWeights(device, inputs, placement.Gap, variant));
        })
        { Variant = variant?.ToString(), Work = (long)row.Rows * row.Outputs * row.Inputs };
}
