using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>How the operands of a convolution lie in memory, and by which operation it is run.</summary>
public readonly record struct ConvPlacement()
{
    /// <summary>Initial and final state are one view.</summary>
    public bool StateInPlace { get; init; }

    /// <summary>Nobody asks for the final state; the result's is all zero.</summary>
    public bool WithoutFinalState { get; init; }

    /// <summary>Elements between rows.</summary>
    public int Gap { get; init; } = GuardedMatrix.UsualGap;

    /// <summary>By <see cref="Backend.CausalConv1dUpdate"/>.</summary>
    public bool OneTokenUpdate { get; init; }
}

/// <summary>Runs causal convolutions on a backend, guard words around every operand.</summary>
public static class CausalConv1dRunner
{
    /// <summary>Runs one; slots that no sequence has are checked to be untouched, and are zero in the result.</summary>
    public static CausalConv1dResult<float> Run(Backend backend, CausalConv1dInputs inputs, ConvPlacement placement)
    {
        int tokens = inputs.Tokens, channels = inputs.Channels, history = inputs.Width - 1, gap = placement.Gap;
        int stateRows = inputs.SlotCount * history;
        using GuardedMatrix x = GuardedMatrix.Input(backend, backend.ActivationType, tokens, channels, inputs.X, gap);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, DataType.Float32, inputs.Width, channels, inputs.Weight, gap);
        using GuardedMatrix? bias = inputs.Bias is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, 1, channels, inputs.Bias, gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, tokens, channels, gap: gap);
        float[]? initial = placement.StateInPlace ? inputs.InitialState ?? new float[stateRows * channels] : null;
        using GuardedMatrix? final = placement.WithoutFinalState
            ? null : GuardedMatrix.Output(backend, DataType.Float32, stateRows, channels, initial, gap);
        using GuardedMatrix? ownInitial = placement.StateInPlace || inputs.InitialState is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, stateRows, channels, inputs.InitialState, gap);

        CausalConv1dForwardArgs args = new()
        {
            X = x.View,
            Weight = weight.View,
            Bias = bias?.View ?? default,
            Sequences = SequenceLayout.Packed(inputs.Lengths, inputs.Slots),
            InitialState = placement.StateInPlace ? final!.View : ownInitial?.View ?? default,
            FinalState = final?.View ?? default,
            Silu = inputs.Silu,
            Y = y.View,
        };
        if (placement.OneTokenUpdate)
        {
            backend.CausalConv1dUpdate(args);
        }
        else
        {
            backend.CausalConv1dForward(args);
        }

        y.AssertGuardsIntact("y");
        final?.AssertGuardsIntact("final state");
        final?.AssertRowsUnchanged("final state", row => !inputs.Slots.Contains(row / history));
        x.AssertUnchanged("x");
        weight.AssertUnchanged("weight");
        bias?.AssertUnchanged("bias");
        ownInitial?.AssertUnchanged("initial state");
        return new CausalConv1dResult<float>(y.Values(), OfTakenSlots(inputs, final?.Values() ?? new float[stateRows * channels]));
    }

    /// <summary>Runs one token by token, every other step with the state in place.</summary>
    public static CausalConv1dResult<float> RunSteps(Backend backend, CausalConv1dInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        int slotSize = (inputs.Width - 1) * inputs.Channels;
        float[] y = new float[inputs.Tokens * inputs.Channels];
        float[] state = inputs.InitialState?.ToArray() ?? new float[inputs.SlotCount * slotSize];
        for (int t = 0; t < inputs.Lengths.Max(); t++)
        {
            (int, int) Step(int sequence) => (t, Math.Min(t + 1, inputs.Lengths[sequence]));
            CausalConv1dInputs step = inputs.Parts(Step) with { InitialState = state };
            CausalConv1dResult<float> updated = Run(
                backend, step, new ConvPlacement { StateInPlace = t % 2 == 0, OneTokenUpdate = true, Gap = gap });
            new PackedParts(inputs.Lengths, Step).Scatter(updated.Y, y, inputs.Channels);

            // Slots without a sequence are zero in the result; sequences that have ended keep what they had.
            foreach (int slot in step.Slots)
            {
                updated.FinalState.AsSpan(slot * slotSize, slotSize).CopyTo(state.AsSpan(slot * slotSize));
            }
        }

        return new CausalConv1dResult<float>(y, OfTakenSlots(inputs, state));
    }

    /// <summary>A state with zeros in the slots that no sequence has.</summary>
    internal static float[] OfTakenSlots(CausalConv1dInputs inputs, float[] state)
    {
        int slotSize = (inputs.Width - 1) * inputs.Channels;
        foreach (int slot in Enumerable.Range(0, inputs.SlotCount).Except(inputs.Slots))
        {
            state.AsSpan(slot * slotSize, slotSize).Clear();
        }

        return state;
    }
}
