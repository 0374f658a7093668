using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>What a norm's backward pass leaves; null what was not asked for.</summary>
public sealed record AddRmsNormBackwardResult(float[] GradResidual, float[]? GradX, float[]? GradWeight, float[]? Y);

/// <summary>What may be left out of a norm's backward pass.</summary>
[Flags]
public enum NormGradients
{
    /// <summary>Nothing but the gradient of the residual stream.</summary>
    None = 0,

    /// <summary>The gradient of x.</summary>
    X = 1,

    /// <summary>That of the weight.</summary>
    Weight = 2,

    /// <summary>The forward's result again.</summary>
    Y = 4,

    /// <summary>All.</summary>
    All = 7,
}

/// <summary>Runs the backward pass of residual sums and norms on a backend, guard words around every operand.</summary>
public static class AddRmsNormBackwardRunner
{
    /// <summary>Runs one.</summary>
    public static AddRmsNormBackwardResult Run(
        Backend backend, AddRmsNormBackwardInputs inputs, int gap = GuardedMatrix.UsualGap, NormGradients asked = NormGradients.All)
    {
        int rows = inputs.Rows, channels = inputs.Channels;
        DataType activation = backend.ActivationType;
        using GuardedMatrix residual = GuardedMatrix.Input(backend, DataType.Float32, rows, channels, inputs.Residual, gap);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, DataType.Float32, 1, channels, inputs.Weight, gap);
        using GuardedMatrix gradY = GuardedMatrix.Input(backend, activation, rows, channels, inputs.GradY, gap);
        using GuardedMatrix gradResidual = GuardedMatrix.Output(backend, DataType.Float32, rows, channels, inputs.GradResidual, gap);
        using GuardedMatrix? gradX = !asked.HasFlag(NormGradients.X)
            ? null : GuardedMatrix.Output(backend, activation, rows, channels, gap: gap);
        using GuardedMatrix? gradWeight = !asked.HasFlag(NormGradients.Weight)
            ? null : GuardedMatrix.Output(backend, DataType.Float32, 1, channels, inputs.GradWeight, gap);
        using GuardedMatrix? y = !asked.HasFlag(NormGradients.Y)
            ? null : GuardedMatrix.Output(backend, activation, rows, channels, gap: gap);
        backend.AddRmsNormBackward(new AddRmsNormBackwardArgs
        {
            Residual = residual.View,
            Weight = weight.View,
            Epsilon = inputs.Epsilon,
            GradY = gradY.View,
            GradResidual = gradResidual.View,
            GradX = gradX?.View ?? default,
            GradWeight = gradWeight?.View ?? default,
            Y = y?.View ?? default,
        });
        residual.AssertUnchanged("residual");
        weight.AssertUnchanged("weight");
        gradY.AssertUnchanged("gradient of y");
        gradResidual.AssertGuardsIntact("gradient of the residual");
        gradX?.AssertGuardsIntact("gradient of x");
        gradWeight?.AssertGuardsIntact("gradient of the weight");
        y?.AssertGuardsIntact("y");
        return new AddRmsNormBackwardResult(gradResidual.Values(), gradX?.Values(), gradWeight?.Values(), y?.Values());
    }
}
