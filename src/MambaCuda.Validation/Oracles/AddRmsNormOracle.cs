using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>residual += x; y = residual / sqrt(mean(residual^2) + epsilon) * weight, row by row.</summary>
public static class AddRmsNormOracle
{
    /// <summary>Gives the new residual and the norm, both (rows, channels); x may be null.</summary>
    public static (T[] Residual, T[] Y) Run<T>(float[]? x, float[] residual, float[] weight, float epsilon)
        where T : IFloatingPointIeee754<T>
    {
        int channels = weight.Length;
        T[] sum = new T[residual.Length];
        T[] y = new T[residual.Length];
        for (int row = 0; row < residual.Length / channels; row++)
        {
            T squares = T.Zero;
            for (int i = row * channels; i < (row + 1) * channels; i++)
            {
                sum[i] = T.CreateChecked(residual[i]) + (x is null ? T.Zero : T.CreateChecked(x[i]));
                squares += sum[i] * sum[i];
            }

            T root = T.Sqrt((squares / T.CreateChecked(channels)) + T.CreateChecked(epsilon));
            for (int i = row * channels; i < (row + 1) * channels; i++)
            {
                y[i] = sum[i] / root * T.CreateChecked(weight[i - (row * channels)]);
            }
        }

        return (sum, y);
    }
}
