using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The selective scan token by token against float64.</summary>
public static class SelectiveStateUpdateValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>: the scan's, of which the first steps are run.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in SelectiveScanCase.Updates
        where row.Fits(backend.ActivationType)
        let steps = SelectiveScanCase.UpdateSteps
        from placement in RowPlacement.For(row.Channels)
        select new ValidationRow(nameof(Backend.SelectiveStateUpdate), placement.Of((row with { Length = steps }).Name), device =>
        {
            SelectiveScanInputs inputs = row.UpdateInputs().RoundActivations(values => StoredValues.Round(values, device.ActivationType));
            return Compare(inputs, SelectiveScanRunner.RunSteps(device, inputs, placement.Gap), device.ActivationType);
        })
        { Work = (long)row.Batch * steps * row.Channels * row.StateSize };

    /// <summary>
    /// How far y, and the state on its way, are from float64. The last state alone would be too few numbers: with a state size of 1 a plain
    /// evaluation is right by luck in some channel or other.
    /// </summary>
    public static IReadOnlyList<OutputError> Compare(SelectiveScanInputs inputs, SelectiveScanSteps actual, DataType activation)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(actual);
        SelectiveScanInputs[] beginnings =
            [.. actual.States.Select((_, t) => inputs.Parts(sequence => (0, Math.Min(t + 1, inputs.Lengths[sequence]))))];
        PlainBound state = new(
            OnTheWay(beginnings, part => SelectiveScanOracle.Run<double>(part).FinalState),
            OnTheWay(beginnings, part => SelectiveScanOracle.Run<float>(part).FinalState),
            OnTheWay(beginnings, part => SelectiveScanOracle.Magnitude(part).FinalState),
            inputs.Channels)
        {
            UnitRoundoff = StoredValues.StateRoundoff(activation),
        };
        IEnumerable<int> groups = Enumerable.Repeat(beginnings.Length * inputs.StateRows, inputs.SlotCount);
        return
        [
            SelectiveScanForwardValidation.Compare(inputs, new SelectiveScanResult<float>(actual.Y, actual.States[^1]), activation)[0],
            state.Worst("state", BySlot(actual.States, inputs.SlotCount), groups),
        ];
    }

    private static T[] OnTheWay<T>(SelectiveScanInputs[] beginnings, Func<SelectiveScanInputs, T[]> stateAfter) =>
        BySlot([.. beginnings.Select(stateAfter)], beginnings[0].SlotCount);

    /// <summary>The states of the first slot at every step, then those of the next.</summary>
    private static T[] BySlot<T>(IReadOnlyList<T[]> states, int slots)
    {
        int slotSize = states[0].Length / slots;
        return
        [
            .. from slot in Enumerable.Range(0, slots)
               from state in states
               from value in new ArraySegment<T>(state, slot * slotSize, slotSize)
               select value,
        ];
    }
}
