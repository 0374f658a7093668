using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>The gradients of a linear layer, one term after the other.</summary>
public static class LinearBackwardOracle
{
    /// <summary>grad_y W, (rows, inputs), added to what x's gradient was, or to nothing.</summary>
    public static T[] OfX<T>(float[] gradY, float[] weight, float[]? gradX, int rows, int outputs, int inputs)
        where T : IFloatingPointIeee754<T>
    {
        T[] result = gradX is null ? new T[rows * inputs] : Array.ConvertAll(gradX, T.CreateChecked);
        T[] w = Array.ConvertAll(weight, T.CreateChecked);
        for (int row = 0; row < rows; row++)
        {
            for (int input = 0; input < inputs; input++)
            {
                T sum = T.Zero;
                for (int output = 0; output < outputs; output++)
                {
                    sum += T.CreateChecked(gradY[(row * outputs) + output]) * w[(output * inputs) + input];
                }

                result[(row * inputs) + input] += sum;
            }
        }

        return result;
    }

    /// <summary>grad_y^T x, (outputs, inputs), added to what the weight's gradient was.</summary>
    public static T[] OfWeight<T>(float[] gradY, float[] x, float[] gradWeight, int rows, int outputs, int inputs)
        where T : IFloatingPointIeee754<T>
    {
        T[] sums = new T[outputs * inputs];
        T[] values = Array.ConvertAll(x, T.CreateChecked);
        for (int row = 0; row < rows; row++)
        {
            for (int output = 0; output < outputs; output++)
            {
                T g = T.CreateChecked(gradY[(row * outputs) + output]);
                for (int input = 0; input < inputs; input++)
                {
                    sums[(output * inputs) + input] += g * values[(row * inputs) + input];
                }
            }
        }

        return [.. sums.Select((sum, i) => T.CreateChecked(gradWeight[i]) + sum)];
    }

    /// <summary>The sums of grad_y over its rows, (outputs), added to what the bias's gradient was.</summary>
    public static T[] OfBias<T>(float[] gradY, float[] gradBias) where T : IFloatingPointIeee754<T>
    {
        T[] sums = new T[gradBias.Length];
        for (int i = 0; i < gradY.Length; i++)
        {
            sums[i % sums.Length] += T.CreateChecked(gradY[i]);
        }

        return [.. sums.Select((sum, i) => T.CreateChecked(gradBias[i]) + sum)];
    }
}
