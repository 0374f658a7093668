using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The causal convolution against float64.</summary>
public static class CausalConv1dForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in CausalConv1dCase.All
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.CausalConv1dForward), placement.Of(row.Name), device =>
        {
            CausalConv1dInputs inputs = row.Inputs().RoundActivations(values => StoredValues.Round(values, device.ActivationType));
            ConvPlacement how = new() { Gap = placement.Gap };
            return Compare(inputs, CausalConv1dRunner.Run(device, inputs, how), device.ActivationType);
        })
        { Work = (long)row.Sequences.Lengths.Sum() * row.Channels * row.Width };

    /// <summary>How far a result is from float64. The final state is a copy of inputs, bit for bit.</summary>
    public static IReadOnlyList<OutputError> Compare(CausalConv1dInputs inputs, CausalConv1dResult<float> actual, DataType activation)
    {
        CausalConv1dResult<float> plain = CausalConv1dOracle.Run<float>(inputs);
        PlainBound y = new(
            CausalConv1dOracle.Run<double>(inputs).Y,
            StoredValues.Round(plain.Y, activation),
            CausalConv1dOracle.Run<double>(inputs.Magnitudes()).Y,
            inputs.Channels)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        return [y.Worst("y", actual.Y, inputs.Lengths), OutputError.Exactly("final state", plain.FinalState, actual.FinalState)];
    }
}
