using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradients of causal attention against float64.</summary>
public static class AttentionBackwardValidation
{
    /// <summary>
    /// Its rows of <see cref="ValidationTable"/>, as the backend chooses to compute them, then in each way that CUDA has: the forward pass gives
    /// what the backward pass reads of it.
    /// </summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in AttentionCase.All
        from placement in RowPlacement.For(row.HeadSize)
        from variant in AttentionForwardValidation.BackwardVariants(backend, row, placement).Prepend(null)
        select new ValidationRow(nameof(Backend.AttentionBackward), placement.Of(row.Name), device =>
        {
            float[] Round(float[] values) => StoredValues.Round(values, device.ActivationType);
            AttentionInputs inputs = row.Inputs().Round(Round);
            float[] gradY = Round(row.GradY());
            AttentionResult<float> results = AttentionRunner.Run(device, inputs, placement.Gap);
            AttentionGradients<float> actual = AttentionRunner.RunBackward(device, inputs, results, gradY, placement.Gap, variant);
            return Compare(inputs, gradY, actual, device.ActivationType);
        })
        { Variant = variant, Work = 3 * row.Work };

    /// <summary>How far gradients are from float64.</summary>
    public static IReadOnlyList<OutputError> Compare(AttentionInputs inputs, float[] gradY, AttentionGradients<float> actual, DataType activation)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(actual);
        AttentionGradients<double> exact = AttentionOracle.RunBackward<double>(inputs, gradY);
        AttentionGradients<float> plain = AttentionOracle.RunBackward<float>(inputs, gradY);
        AttentionGradients<double> magnitude =
            AttentionOracle.RunBackwardMagnitudes(inputs, gradY, AttentionForwardValidation.ScoreUnits(activation));
        OutputError Error(string output, double[] exact, float[] plain, double[] magnitude, float[] actual)
        {
            PlainBound bound = new(exact, StoredValues.Round(plain, activation), magnitude, inputs.Columns)
            {
                UnitRoundoff = StoredValues.UnitRoundoff(activation),
            };
            return bound.Worst(output, actual, inputs.Lengths);
        }

        return
        [
            Error("grad q", exact.GradQ, plain.GradQ, magnitude.GradQ, actual.GradQ),
            Error("grad k", exact.GradK, plain.GradK, magnitude.GradK, actual.GradK),
            Error("grad v", exact.GradV, plain.GradV, magnitude.GradV, actual.GradV),
        ];
    }
}
