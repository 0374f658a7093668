using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradients of the selective scan against float64.</summary>
public static class SelectiveScanBackwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>; none where the backend cannot train.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in backend.CanTrain ? SelectiveScanCase.All : []
        where row.Fits(backend.ActivationType)
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.SelectiveScanBackward), placement.Of(row.Name), device =>
        {
            float[] Round(float[] values) => StoredValues.Round(values, device.ActivationType);
            SelectiveScanInputs inputs = row.Inputs().RoundActivations(Round);
            SelectiveScanUpstream upstream = row.Upstream().RoundActivations(Round);
            ScanBackwardPlacement how = new() { Gap = placement.Gap };
            SelectiveScanBackwardResult<float> actual = SelectiveScanBackwardRunner.Run(device, inputs, upstream, how);
            return Compare(inputs, upstream, actual, device.ActivationType);
        })
        { Work = (long)row.Sequences.Lengths.Sum() * row.Channels * row.StateSize };

    /// <summary>How far gradients are from float64; all that there are must have been asked for.</summary>
    public static IReadOnlyList<OutputError> Compare(
        SelectiveScanInputs inputs, SelectiveScanUpstream upstream, SelectiveScanBackwardResult<float> actual, DataType activation)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        SelectiveScanBackwardResult<double> exact = SelectiveScanBackwardOracle.Run<double>(inputs, upstream);
        SelectiveScanBackwardResult<float> plain = SelectiveScanBackwardOracle.Run<float>(inputs, upstream);
        SelectiveScanBackwardResult<double> magnitude = SelectiveScanBackwardOracle.RunMagnitudes(inputs, upstream);
        List<OutputError> errors = [];
        void Add(
            string output, DataType type, Func<SelectiveScanBackwardResult<float>, float[]?> floats,
            Func<SelectiveScanBackwardResult<double>, double[]?> doubles, int columns, IEnumerable<int> groups)
        {
            if (doubles(exact) is { } expected)
            {
                PlainBound bound = new(expected, StoredValues.Round(floats(plain)!, type), doubles(magnitude)!, columns)
                {
                    UnitRoundoff = StoredValues.GradientRoundoff(type, activation),
                };
                errors.Add(bound.Worst(output, floats(actual)!, groups));
            }
        }

        int channels = inputs.Channels, stateColumns = inputs.Groups * inputs.StateSize;
        int[] lengths = inputs.Lengths, states = [inputs.StateSize], one = [1];
        void AddInputMatrix(
            string output, bool constant, Func<SelectiveScanBackwardResult<float>, float[]?> floats,
            Func<SelectiveScanBackwardResult<double>, double[]?> doubles) => Add(
                output, constant ? DataType.Float32 : activation, floats, doubles, constant ? channels : stateColumns,
                constant ? states : lengths);

        Add("grad u", activation, r => r.GradU, r => r.GradU, channels, lengths);
        Add("grad delta", activation, r => r.GradDelta, r => r.GradDelta, channels, lengths);
        Add("grad z", activation, r => r.GradZ, r => r.GradZ, channels, lengths);
        AddInputMatrix("grad B", inputs.ConstantB, r => r.GradB, r => r.GradB);
        AddInputMatrix("grad C", inputs.ConstantC, r => r.GradC, r => r.GradC);
        Add("grad A", DataType.Float32, r => r.GradA, r => r.GradA, channels, states);
        Add("grad D", DataType.Float32, r => r.GradD, r => r.GradD, channels, one);
        Add("grad delta bias", DataType.Float32, r => r.GradDeltaBias, r => r.GradDeltaBias, channels, one);
        Add(
            "grad initial state", DataType.Float32, r => r.GradInitialState, r => r.GradInitialState, channels,
            Enumerable.Repeat(inputs.StateSize, inputs.SlotCount));
        return errors;
    }
}
