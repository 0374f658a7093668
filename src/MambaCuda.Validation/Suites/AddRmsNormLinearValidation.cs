using System.Numerics;
using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>The residual sum, its norm and a linear layer against float64.</summary>
public static class AddRmsNormLinearValidation
{
    /// <summary>Its rows of <see cref="ValidationTable"/>.</summary>
    public static IEnumerable<ValidationRow> Rows(Backend backend) =>
        from row in AddRmsNormLinearCase.All
        from placement in RowPlacement.For(row.Inputs, row.Quantized is not null)
        select new ValidationRow(nameof(Backend.AddRmsNormLinear), placement.Of(row.Name), device =>
        {
            AddRmsNormLinearInputs inputs = row.Operands(device.ActivationType);
            return Compare(inputs, AddRmsNormLinearRunner.Run(device, inputs, placement.Gap), device.ActivationType);
        })
        { Work = (long)row.Rows * row.Inputs * row.Outputs };

    /// <summary>
    /// How far a result is from float64. The residual stream must be the float32 sum, bit for bit; the plain evaluation rounds the norm to
    /// the type of activations, as the two operations by themselves do.
    /// </summary>
    public static IReadOnlyList<OutputError> Compare(AddRmsNormLinearInputs inputs, AddRmsNormResult actual, DataType activation)
    {
        (AddRmsNormInputs norm, LinearInputs linear) = inputs;
        (float[]? x, float[] residual, float[] weight, float epsilon) = norm;
        (double[] exactSum, double[] exactNorm) = AddRmsNormOracle.Run<double>(x, residual, weight, epsilon);
        (float[] plainSum, float[] plainNorm) = AddRmsNormOracle.Run<float>(x, residual, weight, epsilon);
        double[] sizeOfNorm =
        [
            .. exactNorm.Select((value, i) =>
                exactSum[i] == 0 ? 0 : Math.Abs(value / exactSum[i]) * (Math.Abs(residual[i]) + Math.Abs(x?[i] ?? 0))),
        ];
        float[] plain = StoredValues.Round(Layer(StoredValues.Round(plainNorm, activation), linear, value => value), linear.ResultType);

        // A result's errors belong to its row: by itself, a plain evaluation of one may be right by luck.
        PlainBound bound = new(
            Layer(exactNorm, linear, value => value), plain, Layer(sizeOfNorm, linear, double.Abs), columns: 1)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(linear.ResultType),
        };
        return
        [
            OutputError.Exactly("residual", x is null ? residual : plainSum, actual.Residual),
            bound.Worst("y", actual.Y, Enumerable.Repeat(linear.Outputs, norm.Rows)),
        ];
    }

    private static T[] Layer<T>(T[] x, LinearInputs linear, Func<T, T> term) where T : IFloatingPointIeee754<T>
    {
        (int inputs, int outputs) = (linear.Inputs, linear.Outputs);
        T[] y = new T[linear.RowCount * outputs];
        for (int i = 0; i < y.Length; i++)
        {
            (int row, int output) = (i / outputs, i % outputs);
            y[i] = linear.Bias is null ? T.Zero : term(T.CreateChecked(linear.Bias[output]));
            for (int k = 0; k < inputs; k++)
            {
                y[i] += term(x[(row * inputs) + k] * T.CreateChecked(linear.Weight[(output * inputs) + k]));
            }
        }

        return y;
    }
}
