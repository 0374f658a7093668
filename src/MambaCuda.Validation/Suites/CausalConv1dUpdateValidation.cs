using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The causal convolution token by token against float64.</summary>
public static class CausalConv1dUpdateValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>: the convolution's, of which the first steps are run.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in CausalConv1dCase.All
        let steps = Math.Min(row.Length, CausalConv1dCase.UpdateSteps)
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.CausalConv1dUpdate), placement.Of((row with { Length = steps }).Name), device =>
        {
            CausalConv1dInputs inputs = row.UpdateInputs().RoundActivations(values => StoredValues.Round(values, device.ActivationType));
            CausalConv1dResult<float> actual = CausalConv1dRunner.RunSteps(device, inputs, placement.Gap);
            return CausalConv1dForwardValidation.Compare(inputs, actual, device.ActivationType);
        })
        { Work = (long)row.Batch * steps * row.Channels * row.Width };
}
