using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>The gradients of the residual sum and its norm, row by row.</summary>
public static class AddRmsNormBackwardOracle
{
    /// <summary>
    /// Gives the gradient of the residual, (rows, channels), what was behind the norm added, and that of the weight, added to what it was.
    /// </summary>
    public static (T[] Residual, T[] Weight) Run<T>(
        float[] residual, float[] weight, float[] gradY, float[] gradResidual, float[] gradWeight, float epsilon)
        where T : IFloatingPointIeee754<T> => Run<T>(residual, weight, gradY, gradResidual, gradWeight, epsilon, -T.One);

    /// <summary>What the terms of these gradients amount to without their signs.</summary>
    public static (double[] Residual, double[] Weight) Sizes(
        float[] residual, float[] weight, float[] gradY, float[] gradResidual, float[] gradWeight, float epsilon) =>
        Run(Absolute(residual), Absolute(weight), Absolute(gradY), Absolute(gradResidual), Absolute(gradWeight), epsilon, 1.0);

    private static float[] Absolute(float[] values) => Array.ConvertAll(values, MathF.Abs);

    private static (T[] Residual, T[] Weight) Run<T>(
        float[] residual, float[] weight, float[] gradY, float[] gradResidual, float[] gradWeight, float epsilon, T sign)
        where T : IFloatingPointIeee754<T>
    {
        int channels = weight.Length;
        T[] sums = Array.ConvertAll(gradResidual, T.CreateChecked);
        T[] weightSums = Array.ConvertAll(gradWeight, T.CreateChecked);
        T[] w = Array.ConvertAll(weight, T.CreateChecked);
        for (int row = 0; row < residual.Length / channels; row++)
        {
            T[] x = Array.ConvertAll(residual[(row * channels)..((row + 1) * channels)], T.CreateChecked);
            T[] g = Array.ConvertAll(gradY[(row * channels)..((row + 1) * channels)], T.CreateChecked);
            T squares = T.Zero;
            foreach (T value in x)
            {
                squares += value * value;
            }

            T root = T.Sqrt((squares / T.CreateChecked(channels)) + T.CreateChecked(epsilon));
            T mean = T.Zero;
            for (int c = 0; c < channels; c++)
            {
                x[c] /= root;
                mean += g[c] * w[c] * x[c];
            }

            mean /= T.CreateChecked(channels);
            for (int c = 0; c < channels; c++)
            {
                sums[(row * channels) + c] += ((g[c] * w[c]) + (sign * x[c] * mean)) / root;
                weightSums[c] += g[c] * x[c];
            }
        }

        return (sums, weightSums);
    }
}
