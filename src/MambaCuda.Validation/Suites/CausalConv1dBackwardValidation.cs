using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradients of the causal convolution against float64.</summary>
public static class CausalConv1dBackwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in CausalConv1dCase.All
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.CausalConv1dBackward), placement.Of(row.Name), device =>
        {
            float[] Round(float[] values) => StoredValues.Round(values, device.ActivationType);
            CausalConv1dInputs inputs = row.Inputs().RoundActivations(Round);
            CausalConv1dUpstream upstream = row.Upstream().RoundActivations(Round);
            ConvBackwardPlacement how = new() { Gap = placement.Gap };
            CausalConv1dBackwardResult<float> actual = CausalConv1dBackwardRunner.Run(device, inputs, upstream, how);
            return Compare(inputs, upstream, actual, device.ActivationType);
        })
        { Work = (long)row.Sequences.Lengths.Sum() * row.Channels * row.Width };

    /// <summary>How far gradients are from float64; all that there are must have been asked for.</summary>
    public static IReadOnlyList<OutputError> Compare(
        CausalConv1dInputs inputs, CausalConv1dUpstream upstream, CausalConv1dBackwardResult<float> actual, DataType activation)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(actual);
        CausalConv1dBackwardResult<double> exact = CausalConv1dBackwardOracle.Run<double>(inputs, upstream);
        CausalConv1dBackwardResult<float> plain = CausalConv1dBackwardOracle.Run<float>(inputs, upstream);
        CausalConv1dBackwardResult<double> magnitude = CausalConv1dBackwardOracle.RunMagnitudes(inputs, upstream);
        OutputError Error(
            string output, DataType type, double[]? exact, float[]? plain, double[]? magnitude, float[]? actual, IEnumerable<int> groups)
        {
            PlainBound bound = new(exact!, StoredValues.Round(plain!, type), magnitude!, inputs.Channels)
            {
                UnitRoundoff = StoredValues.GradientRoundoff(type, activation),
            };
            return bound.Worst(output, actual!, groups);
        }

        const DataType Float32 = DataType.Float32;
        IEnumerable<int> states = Enumerable.Repeat(inputs.Width - 1, inputs.SlotCount);
        List<OutputError> errors =
        [
            Error("grad x", activation, exact.GradX, plain.GradX, magnitude.GradX, actual.GradX, inputs.Lengths),
            Error(
                "grad weight", Float32, exact.GradWeight, plain.GradWeight, magnitude.GradWeight, actual.GradWeight, [inputs.Width]),
            Error(
                "grad initial state", Float32, exact.GradInitialState, plain.GradInitialState, magnitude.GradInitialState,
                actual.GradInitialState, states),
        ];
        if (exact.GradBias is not null)
        {
            errors.Add(Error("grad bias", Float32, exact.GradBias, plain.GradBias, magnitude.GradBias, actual.GradBias, [1]));
        }

        return errors;
    }
}
