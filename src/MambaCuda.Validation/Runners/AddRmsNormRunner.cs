using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>What a norm leaves: the residual stream and y, both (rows, channels).</summary>
public sealed record AddRmsNormResult(float[] Residual, float[] Y);

/// <summary>Runs residual sums and norms on a backend, guard words around every operand.</summary>
public static class AddRmsNormRunner
{
    /// <summary>Runs one.</summary>
    public static AddRmsNormResult Run(Backend backend, AddRmsNormInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        int rows = inputs.Rows, channels = inputs.Channels;
        using GuardedMatrix? x = inputs.X is null
            ? null : GuardedMatrix.Input(backend, backend.ActivationType, rows, channels, inputs.X, gap);
        using GuardedMatrix residual = GuardedMatrix.Output(backend, DataType.Float32, rows, channels, inputs.Residual, gap);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, DataType.Float32, 1, channels, inputs.Weight, gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, rows, channels, gap: gap);
        backend.AddRmsNormForward(new AddRmsNormForwardArgs
        {
            X = x?.View ?? default,
            Residual = residual.View,
            Weight = weight.View,
            Epsilon = inputs.Epsilon,
            Y = y.View,
        });
        x?.AssertUnchanged("x");
        weight.AssertUnchanged("weight");
        residual.AssertGuardsIntact("residual");
        y.AssertGuardsIntact("y");
        return new AddRmsNormResult(residual.Values(), y.Values());
    }
}
