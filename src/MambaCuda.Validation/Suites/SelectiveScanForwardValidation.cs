using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The selective scan against float64.</summary>
public static class SelectiveScanForwardValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        int multiprocessors = (backend as CudaBackend)?.Context.Device.MultiprocessorCount ?? 1;
        return
            from row in (SelectiveScanCase[])
                [.. SelectiveScanCase.All, .. SelectiveScanCase.Complex, .. SelectiveScanCase.Long, .. SelectiveScanCase.Wide(multiprocessors)]
            where row.Fits(backend.ActivationType)
            from placement in RowPlacement.For(row.Channels)
            select new ValidationRow(nameof(Backend.SelectiveScanForward), placement.Of(row.Name), device =>
            {
                SelectiveScanInputs inputs = row.Inputs().RoundActivations(values => StoredValues.Round(values, device.ActivationType));
                ScanPlacement how = new() { Gap = placement.Gap };
                SelectiveScanResult<float> actual = SelectiveScanRunner.Run(device, inputs.Repeat(row.Copies), how);
                return Compare(inputs, actual, device.ActivationType, row.Copies);
            })
            { Work = (long)row.Sequences.Lengths.Sum() * row.Channels * row.Copies * row.StateSize };
    }

    /// <summary>How far a result is from float64.</summary>
    /// <param name="inputs">The operands.</param>
    /// <param name="actual">What came of them, or of that many copies of their channels.</param>
    /// <param name="activation">The type of activations.</param>
    /// <param name="copies">How many.</param>
    public static IReadOnlyList<OutputError> Compare(
        SelectiveScanInputs inputs, SelectiveScanResult<float> actual, DataType activation, int copies = 1)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(actual);
        int channels = inputs.Channels;
        SelectiveScanResult<double> exact = SelectiveScanOracle.Run<double>(inputs);
        SelectiveScanResult<float> plain = SelectiveScanOracle.Run<float>(inputs);
        double ofResults = StoredValues.UnitRoundoff(activation), ofStates = StoredValues.StateRoundoff(activation);
        double[] sizeOfY = SelectiveScanOracle.Magnitude(inputs, phaseUnit: ofStates / ofResults).Y;
        PlainBound y = new(exact.Y, StoredValues.Round(plain.Y, activation), sizeOfY, channels) { UnitRoundoff = ofResults };
        double[] sizeOfState = SelectiveScanOracle.Magnitude(inputs).FinalState;
        PlainBound state = new(exact.FinalState, plain.FinalState, sizeOfState, channels) { UnitRoundoff = ofStates };
        float[] Copy(float[] rows, int copy) =>
            copies == 1 ? rows : [.. rows.Chunk(channels * copies).SelectMany(row => row.Skip(copy * channels).Take(channels))];
        IEnumerable<int> slots = Enumerable.Repeat(inputs.StateRows, inputs.SlotCount);
        return
        [
            Enumerable.Range(0, copies)
                .Select(copy => y.Worst("y", Copy(actual.Y, copy), inputs.Lengths)).Aggregate(OutputError.Worse),
            Enumerable.Range(0, copies)
                .Select(copy => state.Worst("final state", Copy(actual.FinalState, copy), slots))
                .Aggregate(OutputError.Worse),
        ];
    }
}
