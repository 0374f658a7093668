using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The gradients that a scan's backward pass may be asked for.</summary>
[Flags]
public enum ScanGradients
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>That of u.</summary>
    U = 1,

    /// <summary>That of delta.</summary>
    Delta = 2,

    /// <summary>That of A.</summary>
    A = 4,

    /// <summary>That of B.</summary>
    B = 8,

    /// <summary>That of C.</summary>
    C = 16,

    /// <summary>That of D, where there is one.</summary>
    D = 32,

    /// <summary>That of z, where there is one.</summary>
    Z = 64,

    /// <summary>That of the bias of delta, where there is one.</summary>
    DeltaBias = 128,

    /// <summary>That of the initial state.</summary>
    InitialState = 256,

    /// <summary>All.</summary>
    All = 511,
}

/// <summary>How the operands of a scan's backward pass lie in memory, and what is asked for.</summary>
public readonly record struct ScanBackwardPlacement()
{
    /// <summary>The gradient of u takes the place of that of y.</summary>
    public bool GradUOverGradY { get; init; }

    /// <summary>The gradient of delta takes the place of delta.</summary>
    public bool GradDeltaOverDelta { get; init; }

    /// <summary>The gradient of the initial state takes the place of that of the final one.</summary>
    public bool StateInPlace { get; init; }

    /// <summary>Nobody asks for y again.</summary>
    public bool WithoutY { get; init; }

    /// <summary>The gradients that are asked for; the others are null in the result.</summary>
    public ScanGradients Asked { get; init; } = ScanGradients.All;

    /// <summary>What the gradients that are added to hold before.</summary>
    public float Before { get; init; }

    /// <summary>Elements between rows.</summary>
    public int Gap { get; init; } = GuardedMatrix.UsualGap;
}

/// <summary>Runs the backward pass of selective scans on a backend, after the forward pass, guard words around every operand.</summary>
public static class SelectiveScanBackwardRunner
{
    /// <summary>Runs one; slots that no sequence has are checked to be untouched, and are zero in the result.</summary>
    public static SelectiveScanBackwardResult<float> Run(
        Backend backend, SelectiveScanInputs inputs, SelectiveScanUpstream upstream, ScanBackwardPlacement placement)
    {
        int tokens = inputs.Tokens, channels = inputs.Channels, stateSize = inputs.StateSize, gap = placement.Gap;
        int stateRows = inputs.SlotCount * stateSize;
        DataType activation = backend.ActivationType;
        using SelectiveScanOperands operands = new(backend, inputs, gap, deltaIsWritten: placement.GradDeltaOverDelta);
        using GuardedMatrix? initialState = inputs.InitialState is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, stateRows, channels, inputs.InitialState, gap);
        using GuardedMatrix checkpoints = Checkpoints(backend, inputs, operands, initialState, gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, activation, tokens, channels, gap: gap);
        using GuardedMatrix gradY = placement.GradUOverGradY
            ? GuardedMatrix.Output(backend, activation, tokens, channels, upstream.GradY, gap)
            : GuardedMatrix.Input(backend, activation, tokens, channels, upstream.GradY, gap);
        float[]? final = placement.StateInPlace ? upstream.GradFinalState ?? new float[stateRows * channels] : upstream.GradFinalState;
        using GuardedMatrix? gradFinal = final is null ? null : placement.StateInPlace
            ? GuardedMatrix.Output(backend, DataType.Float32, stateRows, channels, final, gap)
            : GuardedMatrix.Input(backend, DataType.Float32, stateRows, channels, final, gap);

        GuardedMatrix? Written(ScanGradients which, DataType type, int rows, int columns) => !placement.Asked.HasFlag(which)
            ? null : GuardedMatrix.Output(backend, type, rows, columns, gap: gap);
        GuardedMatrix? Added(ScanGradients which, int rows, bool there = true) => !there || !placement.Asked.HasFlag(which)
            ? null
            : GuardedMatrix.Output(
                backend, DataType.Float32, rows, channels, [.. Enumerable.Repeat(placement.Before, rows * channels)], gap);
        using GuardedMatrix? ownGradU = placement.GradUOverGradY ? null : Written(ScanGradients.U, activation, tokens, channels);
        using GuardedMatrix? ownGradDelta = placement.GradDeltaOverDelta
            ? null : Written(ScanGradients.Delta, activation, tokens, channels);
        using GuardedMatrix? gradA = Added(ScanGradients.A, stateSize);
        using GuardedMatrix? gradB = inputs.ConstantB
            ? Added(ScanGradients.B, stateSize) : Written(ScanGradients.B, activation, tokens, inputs.Groups * stateSize);
        using GuardedMatrix? gradC = inputs.ConstantC
            ? Added(ScanGradients.C, stateSize) : Written(ScanGradients.C, activation, tokens, inputs.Groups * stateSize);
        using GuardedMatrix? gradD = Added(ScanGradients.D, 1, inputs.D is not null);
        using GuardedMatrix? gradZ = inputs.Z is null ? null : Written(ScanGradients.Z, activation, tokens, channels);
        using GuardedMatrix? gradBias = Added(ScanGradients.DeltaBias, 1, inputs.DeltaBias is not null);
        using GuardedMatrix? ownGradInitial = placement.StateInPlace
            ? null : Written(ScanGradients.InitialState, DataType.Float32, stateRows, channels);
        GuardedMatrix? gradU = placement.GradUOverGradY ? gradY : ownGradU;
        GuardedMatrix? gradDelta = placement.GradDeltaOverDelta ? operands.Delta : ownGradDelta;
        GuardedMatrix? gradInitial = placement.StateInPlace ? gradFinal : ownGradInitial;

        backend.SelectiveScanBackward(new SelectiveScanBackwardArgs
        {
            Forward = operands.Args with
            {
                InitialState = initialState?.View ?? default,
                Checkpoints = checkpoints.View,
                Y = placement.WithoutY ? default : y.View,
            },
            GradY = gradY.View,
            GradFinalState = gradFinal?.View ?? default,
            GradU = gradU?.View ?? default,
            GradDelta = gradDelta?.View ?? default,
            GradA = gradA?.View ?? default,
            GradB = gradB?.View ?? default,
            GradC = gradC?.View ?? default,
            GradD = gradD?.View ?? default,
            GradZ = gradZ?.View ?? default,
            GradDeltaBias = gradBias?.View ?? default,
            GradInitialState = gradInitial?.View ?? default,
        });

        operands.AssertUnchanged(written: placement.GradDeltaOverDelta ? operands.Delta : null);
        initialState?.AssertUnchanged("initial state");
        checkpoints.AssertUnchanged("checkpoints");
        if (!placement.GradUOverGradY)
        {
            gradY.AssertUnchanged("gradient of y");
        }

        if (!placement.StateInPlace)
        {
            gradFinal?.AssertUnchanged("gradient of the final state");
        }

        foreach ((string name, GuardedMatrix? matrix) in new[]
        {
            ("y", y), ("gradient of u", gradU), ("gradient of delta", gradDelta), ("gradient of A", gradA), ("gradient of B", gradB),
            ("gradient of C", gradC), ("gradient of D", gradD), ("gradient of z", gradZ), ("gradient of the delta bias", gradBias),
            ("gradient of the initial state", gradInitial),
        })
        {
            matrix?.AssertGuardsIntact(name);
        }

        gradInitial?.AssertRowsUnchanged("gradient of the initial state", row => !inputs.Slots.Contains(row / stateSize));
        return new SelectiveScanBackwardResult<float>
        {
            Y = placement.WithoutY ? null : y.Values(),
            GradU = gradU?.Values(),
            GradDelta = gradDelta?.Values(),
            GradA = gradA?.Values(),
            GradB = gradB?.Values(),
            GradC = gradC?.Values(),
            GradD = gradD?.Values(),
            GradZ = gradZ?.Values(),
            GradDeltaBias = gradBias?.Values(),
            GradInitialState = gradInitial is null ? null : SelectiveScanRunner.OfTakenSlots(inputs, gradInitial.Values()),
        };
    }

    /// <summary>The states that the forward pass leaves every <see cref="Backend.ScanCheckpointSteps"/> tokens, row by row.</summary>
    public static float[] Checkpoints(Backend backend, SelectiveScanInputs inputs)
    {
        using SelectiveScanOperands operands = new(backend, inputs, GuardedMatrix.UsualGap);
        using GuardedMatrix? initialState = inputs.InitialState is null
            ? null
            : GuardedMatrix.Input(
                backend, DataType.Float32, inputs.SlotCount * inputs.StateSize, inputs.Channels, inputs.InitialState);
        using GuardedMatrix checkpoints = Checkpoints(backend, inputs, operands, initialState, GuardedMatrix.UsualGap);
        return checkpoints.Values();
    }

    /// <summary>Runs the forward pass for its checkpoints, which the backward pass must only read.</summary>
    private static GuardedMatrix Checkpoints(
        Backend backend, SelectiveScanInputs inputs, SelectiveScanOperands operands, GuardedMatrix? initialState, int gap)
    {
        int channels = inputs.Channels;
        int rows = checked((int)operands.Args.Sequences.CheckpointCount(backend.ScanCheckpointSteps)) * inputs.StateSize;
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, inputs.Tokens, channels, gap: gap);
        using GuardedMatrix written = GuardedMatrix.Output(backend, DataType.Float32, rows, channels, gap: gap);
        backend.SelectiveScanForward(operands.Args with
        {
            InitialState = initialState?.View ?? default,
            Checkpoints = written.View,
            Y = y.View,
        });
        written.AssertGuardsIntact("checkpoints");
        return GuardedMatrix.Input(backend, DataType.Float32, rows, channels, written.Values(), gap);
    }
}
