using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Runs norms with a linear layer behind on a backend, guard words around every operand.</summary>
public static class AddRmsNormLinearRunner
{
    /// <summary>Runs one; where nothing is added, the residual stream is as it was.</summary>
    public static AddRmsNormResult Run(Backend backend, AddRmsNormLinearInputs inputs, int gap = GuardedMatrix.UsualGap)
    {
        (AddRmsNormInputs norm, LinearInputs linear) = inputs;
        (int rows, int columns, int outputs, DataType type) = (norm.Rows, norm.Channels, linear.Outputs, backend.ActivationType);
        using GuardedMatrix? x = norm.X is null ? null : GuardedMatrix.Input(backend, type, rows, columns, norm.X, gap);
        using GuardedMatrix residual = GuardedMatrix.Input(backend, DataType.Float32, rows, columns, norm.Residual, gap);
        using GuardedMatrix? residualOut = x is null ? null : GuardedMatrix.Output(backend, DataType.Float32, rows, columns, gap: gap);
        using GuardedMatrix normWeight = GuardedMatrix.Input(backend, DataType.Float32, 1, columns, norm.Weight, gap);
        using PlacedWeight weight = new(backend, "weight", linear.WeightType, outputs, columns, linear.Weight, linear.Quantized, gap);
        using GuardedMatrix? bias = linear.Bias is null
            ? null : GuardedMatrix.Input(backend, DataType.Float32, 1, outputs, linear.Bias, gap);
        using GuardedMatrix work = GuardedMatrix.Output(backend, type, rows, columns, gap: gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, linear.ResultType, rows, outputs, gap: gap);
        backend.AddRmsNormLinear(new AddRmsNormLinearArgs
        {
            X = x?.View ?? default,
            Residual = residual.View,
            ResidualOut = residualOut?.View ?? default,
            NormWeight = normWeight.View,
            Epsilon = norm.Epsilon,
            Weight = weight.View,
            Bias = bias?.View ?? default,
            NormWork = work.View,
            Y = y.View,
        });
        foreach ((string name, GuardedMatrix? matrix) in new[]
        {
            ("x", x), ("residual", residual), ("norm weight", normWeight), ("bias", bias),
        })
        {
            matrix?.AssertUnchanged(name);
        }

        weight.AssertUnchanged();
        residualOut?.AssertGuardsIntact("residual out");
        work.AssertGuardsIntact("work");
        y.AssertGuardsIntact("y");
        return new AddRmsNormResult(residualOut?.Values() ?? norm.Residual, y.Values());
    }
}
