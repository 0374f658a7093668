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
        IEnumerable<SelectiveScanCase> cases = SelectiveScanCase.All.Concat(SelectiveScanCase.Long).Concat(SelectiveScanCase.Wide(multiprocessors));
        return Rows(nameof(Backend.SelectiveScanForward), backend, cases, oneTokenUpdate: false);
    }

    /// <summary>How far a result is from float64.</summary>
    public static IReadOnlyList<OutputError> Compare(SelectiveScanInputs inputs, SelectiveScanResult<float> actual, DataType activation)
    {
        SelectiveScanResult<double> exact = SelectiveScanOracle.Run<double>(inputs);
        SelectiveScanResult<float> plain = SelectiveScanOracle.Run<float>(inputs);
        SelectiveScanResult<double> magnitude = SelectiveScanOracle.Run<double>(inputs.Magnitudes());
        PlainBound y = new(exact.Y, StoredValues.Round(plain.Y, activation), magnitude.Y, inputs.Channels)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        PlainBound state = new(exact.FinalState, plain.FinalState, magnitude.FinalState, inputs.Channels)
        {
            UnitRoundoff = StoredValues.StateRoundoff(activation),
        };
        return
        [
            y.Worst("y", actual.Y, inputs.Lengths),
            state.Worst("final state", actual.FinalState, Enumerable.Repeat(inputs.StateSize, inputs.SlotCount)),
        ];
    }

    /// <summary>The rows of an operation that is this one.</summary>
    internal static IEnumerable<ValidationRow> Rows(
        string operation, Backend backend, IEnumerable<SelectiveScanCase> cases, bool oneTokenUpdate) =>
        from row in cases
        where row.Fits(backend.ActivationType)
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(operation, placement.Of(row.Name), device =>
        {
            SelectiveScanInputs inputs = row.Inputs().RoundActivations(values => StoredValues.Round(values, device.ActivationType));
            ScanPlacement how = new() { Gap = placement.Gap, StateInPlace = oneTokenUpdate, OneTokenUpdate = oneTokenUpdate };
            return Compare(inputs, SelectiveScanRunner.Run(device, inputs, how), device.ActivationType);
        })
        { Work = (long)row.Sequences.Lengths.Sum() * row.Channels * row.StateSize };
}
