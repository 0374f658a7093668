using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>What a norm leaves: the residual stream and y, both (rows, channels).</summary>
public sealed record AddRmsNormResult(float[] Residual, float[] Y);

/// <summary>Runs residual sums and norms on a backend, guard words around every operand.</summary>
public static class AddRmsNormRunner
{
    /// <summary>Runs one.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="inputs">The operands.</param>
    /// <param name="gap">Elements between rows.</param>
    /// <param name="apart">Whether the sum gets memory of its own; the residual stream is then checked to be untouched.</param>
    public static AddRmsNormResult Run(
        Backend backend, AddRmsNormInputs inputs, int gap = GuardedMatrix.UsualGap, bool apart = false)
    {
        int rows = inputs.Rows, channels = inputs.Channels;
        using GuardedMatrix? x = inputs.X is null
            ? null : GuardedMatrix.Input(backend, backend.ActivationType, rows, channels, inputs.X, gap);
        using GuardedMatrix residual = apart
            ? GuardedMatrix.Input(backend, DataType.Float32, rows, channels, inputs.Residual, gap)
            : GuardedMatrix.Output(backend, DataType.Float32, rows, channels, inputs.Residual, gap);
        using GuardedMatrix? residualOut = apart ? GuardedMatrix.Output(backend, DataType.Float32, rows, channels, gap: gap) : null;
        using GuardedMatrix weight = GuardedMatrix.Input(backend, DataType.Float32, 1, channels, inputs.Weight, gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, rows, channels, gap: gap);
        backend.AddRmsNormForward(new AddRmsNormForwardArgs
        {
            X = x?.View ?? default,
            Residual = residual.View,
            ResidualOut = residualOut?.View ?? default,
            Weight = weight.View,
            Epsilon = inputs.Epsilon,
            Y = y.View,
        });
        x?.AssertUnchanged("x");
        weight.AssertUnchanged("weight");
        y.AssertGuardsIntact("y");
        if (residualOut is null)
        {
            residual.AssertGuardsIntact("residual");
            return new AddRmsNormResult(residual.Values(), y.Values());
        }

        residual.AssertUnchanged("residual");
        residualOut.AssertGuardsIntact("residual out");
        return new AddRmsNormResult(residualOut.Values(), y.Values());
    }
}
