using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Which memory y shares.</summary>
public enum ScanOutput
{
    /// <summary>None.</summary>
    OwnMemory,

    /// <summary>That of u.</summary>
    OverU,

    /// <summary>That of z.</summary>
    OverZ,
}

/// <summary>How the operands of a scan lie in memory, and by which operation it is run.</summary>
public readonly record struct ScanPlacement()
{
    /// <summary>Which memory y shares.</summary>
    public ScanOutput Output { get; init; } = ScanOutput.OwnMemory;

    /// <summary>Initial and final state are one view.</summary>
    public bool StateInPlace { get; init; }

    /// <summary>Nobody asks for the final state; the result's is all zero.</summary>
    public bool WithoutFinalState { get; init; }

    /// <summary>Elements between rows.</summary>
    public int Gap { get; init; } = GuardedMatrix.UsualGap;

    /// <summary>By <see cref="Backend.SelectiveStateUpdate"/>.</summary>
    public bool OneTokenUpdate { get; init; }
}

/// <summary>What a scan leaves that is run token by token.</summary>
/// <param name="Y">y, (tokens, channels).</param>
/// <param name="States">The states after each step, (slots * state size, channels).</param>
public sealed record SelectiveScanSteps(float[] Y, IReadOnlyList<float[]> States);

/// <summary>Runs selective scans on a backend, guard words around every operand.</summary>
public static class SelectiveScanRunner
{
    /// <summary>Runs one; slots that no sequence has are checked to be untouched, and are zero in the result.</summary>
    public static SelectiveScanResult<float> Run(Backend backend, SelectiveScanInputs inputs, ScanPlacement placement)
    {
        int tokens = inputs.Tokens, channels = inputs.Channels, slotRows = inputs.StateRows, gap = placement.Gap;
        int stateRows = inputs.SlotCount * slotRows;
        using SelectiveScanOperands operands = new(backend, inputs, gap, placement.Output);
        using GuardedMatrix? ownY = placement.Output == ScanOutput.OwnMemory
            ? GuardedMatrix.Output(backend, backend.ActivationType, tokens, channels, gap: gap) : null;
        GuardedMatrix y = ownY ?? (placement.Output == ScanOutput.OverU ? operands.U : operands.Z!);
        float[]? initial = placement.StateInPlace ? inputs.InitialState ?? new float[stateRows * channels] : null;
        using GuardedMatrix? final = placement.WithoutFinalState
            ? null : GuardedMatrix.Output(backend, DataType.Float32, stateRows, channels, initial, gap);
        using GuardedMatrix? ownInitial = placement.StateInPlace || inputs.InitialState is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, stateRows, channels, inputs.InitialState, gap);

        SelectiveScanForwardArgs args = operands.Args with
        {
            InitialState = placement.StateInPlace ? final!.View : ownInitial?.View ?? default,
            FinalState = final?.View ?? default,
            Y = y.View,
        };
        if (placement.OneTokenUpdate)
        {
            backend.SelectiveStateUpdate(args);
        }
        else
        {
            backend.SelectiveScanForward(args);
        }

        y.AssertGuardsIntact("y");
        final?.AssertGuardsIntact("final state");
        final?.AssertRowsUnchanged("final state", row => !inputs.Slots.Contains(row / slotRows));
        operands.AssertUnchanged(written: y);
        ownInitial?.AssertUnchanged("initial state");
        return new SelectiveScanResult<float>(y.Values(), OfTakenSlots(inputs, final?.Values() ?? new float[stateRows * channels]));
    }

    /// <summary>Runs one token by token, every other step with the state in place; y lies in another place of those there are at each step.</summary>
    public static SelectiveScanSteps RunSteps(Backend backend, SelectiveScanInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        int slotSize = inputs.StateRows * inputs.Channels;
        float[] y = new float[inputs.Tokens * inputs.Channels];
        float[] state = inputs.InitialState?.ToArray() ?? new float[inputs.SlotCount * slotSize];
        List<float[]> states = [];
        for (int t = 0; t < inputs.Lengths.Max(); t++)
        {
            (int, int) Step(int sequence) => (t, Math.Min(t + 1, inputs.Lengths[sequence]));
            SelectiveScanInputs step = inputs.Parts(Step) with { InitialState = state };
            ScanOutput output = (ScanOutput)(inputs.Z is null ? t % 2 : t % 3);
            SelectiveScanResult<float> updated = Run(
                backend, step, new ScanPlacement { StateInPlace = t % 2 == 0, OneTokenUpdate = true, Output = output, Gap = gap });
            new PackedParts(inputs.Lengths, Step).Scatter(updated.Y, y, inputs.Channels);

            // Slots without a sequence are zero in the result; sequences that have ended keep what they had.
            foreach (int slot in step.Slots)
            {
                updated.FinalState.AsSpan(slot * slotSize, slotSize).CopyTo(state.AsSpan(slot * slotSize));
            }

            states.Add(OfTakenSlots(inputs, [.. state]));
        }

        return new SelectiveScanSteps(y, states);
    }

    /// <summary>A state with zeros in the slots that no sequence has.</summary>
    internal static float[] OfTakenSlots(SelectiveScanInputs inputs, float[] state)
    {
        int slotSize = inputs.StateRows * inputs.Channels;
        foreach (int slot in Enumerable.Range(0, inputs.SlotCount).Except(inputs.Slots))
        {
            state.AsSpan(slot * slotSize, slotSize).Clear();
        }

        return state;
    }
}
