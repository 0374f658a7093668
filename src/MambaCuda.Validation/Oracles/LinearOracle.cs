using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>y = x W^T + bias, one term after the other.</summary>
public static class LinearOracle
{
    /// <summary>Multiplies x, (rows, inputs), by the weight, (outputs, inputs).</summary>
    public static T[] Run<T>(float[] x, float[] weight, float[]? bias, int rows, int outputs, int inputs) where T : IFloatingPointIeee754<T>
    {
        T[] y = new T[rows * outputs];
        for (int row = 0; row < rows; row++)
        {
            for (int output = 0; output < outputs; output++)
            {
                T sum = T.Zero;
                for (int k = 0; k < inputs; k++)
                {
                    sum += T.CreateChecked(x[(row * inputs) + k]) * T.CreateChecked(weight[(output * inputs) + k]);
                }

                y[(row * outputs) + output] = sum + (bias is null ? T.Zero : T.CreateChecked(bias[output]));
            }
        }

        return y;
    }
}
