using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradients that a convolution's backward pass may be asked for.</summary>
[Flags]
public enum ConvGradients
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>That of x.</summary>
    X = 1,

    /// <summary>That of the kernel.</summary>
    Weight = 2,

    /// <summary>That of the bias, where there is one.</summary>
    Bias = 4,

    /// <summary>That of the initial state.</summary>
    InitialState = 8,

    /// <summary>All.</summary>
    All = 15,
}

/// <summary>How the operands of a convolution's backward pass lie in memory, and what is asked for.</summary>
public readonly record struct ConvBackwardPlacement()
{
    /// <summary>The gradient of the initial state takes the place of that of the final one.</summary>
    public bool StateInPlace { get; init; }

    /// <summary>The gradients that are asked for; the others are null in the result.</summary>
    public ConvGradients Asked { get; init; } = ConvGradients.All;

    /// <summary>What the gradients that are added to hold before.</summary>
    public float Before { get; init; }

    /// <summary>Elements between rows.</summary>
    public int Gap { get; init; } = GuardedMatrix.UsualGap;
}

/// <summary>Runs the backward pass of causal convolutions on a backend, guard words around every operand.</summary>
public static class CausalConv1dBackwardRunner
{
    /// <summary>Runs one; slots that no sequence has are checked to be untouched, and are zero in the result.</summary>
    public static CausalConv1dBackwardResult<float> Run(
        Backend backend, CausalConv1dInputs inputs, CausalConv1dUpstream upstream, ConvBackwardPlacement placement)
    {
        int tokens = inputs.Tokens, channels = inputs.Channels, history = inputs.Width - 1, gap = placement.Gap;
        int stateRows = inputs.SlotCount * history;
        DataType activation = backend.ActivationType;
        using GuardedMatrix x = GuardedMatrix.Input(backend, activation, tokens, channels, inputs.X, gap);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, DataType.Float32, inputs.Width, channels, inputs.Weight, gap);
        using GuardedMatrix? bias = inputs.Bias is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, 1, channels, inputs.Bias, gap);
        using GuardedMatrix? state = inputs.InitialState is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, stateRows, channels, inputs.InitialState, gap);
        using GuardedMatrix gradY = GuardedMatrix.Input(backend, activation, tokens, channels, upstream.GradY, gap);
        using GuardedMatrix? moreGradY = upstream.MoreGradY is null
            ? null : GuardedMatrix.Input(backend, activation, tokens, channels, upstream.MoreGradY, gap);
        float[]? final = placement.StateInPlace ? upstream.GradFinalState ?? new float[stateRows * channels] : upstream.GradFinalState;
        using GuardedMatrix? gradFinal = final is null ? null : placement.StateInPlace
            ? GuardedMatrix.Output(backend, DataType.Float32, stateRows, channels, final, gap)
            : GuardedMatrix.Input(backend, DataType.Float32, stateRows, channels, final, gap);

        GuardedMatrix? Added(ConvGradients which, int rows) => !placement.Asked.HasFlag(which)
            ? null
            : GuardedMatrix.Output(
                backend, DataType.Float32, rows, channels, [.. Enumerable.Repeat(placement.Before, rows * channels)], gap);
        using GuardedMatrix? gradX = !placement.Asked.HasFlag(ConvGradients.X)
            ? null : GuardedMatrix.Output(backend, activation, tokens, channels, gap: gap);
        using GuardedMatrix? gradWeight = Added(ConvGradients.Weight, inputs.Width);
        using GuardedMatrix? gradBias = inputs.Bias is null ? null : Added(ConvGradients.Bias, 1);
        using GuardedMatrix? ownGradInitial = placement.StateInPlace || !placement.Asked.HasFlag(ConvGradients.InitialState)
            ? null : GuardedMatrix.Output(backend, DataType.Float32, stateRows, channels, gap: gap);
        GuardedMatrix? gradInitial = placement.StateInPlace ? gradFinal : ownGradInitial;

        backend.CausalConv1dBackward(new CausalConv1dBackwardArgs
        {
            Forward = new CausalConv1dForwardArgs
            {
                X = x.View,
                Weight = weight.View,
                Bias = bias?.View ?? default,
                Sequences = SequenceLayout.Packed(inputs.Lengths, inputs.Slots),
                InitialState = state?.View ?? default,
                Silu = inputs.Silu,
            },
            GradY = gradY.View,
            MoreGradY = moreGradY?.View ?? default,
            GradFinalState = gradFinal?.View ?? default,
            GradX = gradX?.View ?? default,
            GradWeight = gradWeight?.View ?? default,
            GradBias = gradBias?.View ?? default,
            GradInitialState = gradInitial?.View ?? default,
        });

        foreach ((string name, GuardedMatrix? matrix) in new[]
        {
            ("x", x), ("weight", weight), ("bias", bias), ("initial state", state), ("gradient of y", gradY),
            ("second gradient of y", moreGradY),
            ("gradient of the final state", placement.StateInPlace ? null : gradFinal),
        })
        {
            matrix?.AssertUnchanged(name);
        }

        foreach ((string name, GuardedMatrix? matrix) in new[]
        {
            ("gradient of x", gradX), ("gradient of the weight", gradWeight), ("gradient of the bias", gradBias),
            ("gradient of the initial state", gradInitial),
        })
        {
            matrix?.AssertGuardsIntact(name);
        }

        gradInitial?.AssertRowsUnchanged("gradient of the initial state", row => !inputs.Slots.Contains(row / history));
        return new CausalConv1dBackwardResult<float>(
            gradX?.Values(), gradWeight?.Values(), gradBias?.Values(),
            gradInitial is null ? null : CausalConv1dRunner.OfTakenSlots(inputs, gradInitial.Values()));
    }
}
