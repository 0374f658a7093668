using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>A whole step of decode, one number after the other.</summary>
public static class DecodeStepOracle
{
    /// <summary>Runs it.</summary>
    /// <param name="inputs">The operands.</param>
    /// <param name="round">What storing an activation makes of it.</param>
    /// <returns>What it leaves, and what the terms of each of these amount to without their signs.</returns>
    public static (DecodeStepResult<T> Result, DecodeStepResult<T> Sizes) Run<T>(DecodeStepInputs inputs, Func<T, T> round)
        where T : IFloatingPointIeee754<T>
    {
        DecodeStepCase sizes = inputs.Case;
        (int rows, int width, int channels) = (sizes.Rows, sizes.Width, sizes.Channels);
        T[] residual = [.. inputs.Tokens.SelectMany(token => inputs.Embedding.AsSpan(token * width, width).ToArray()).Select(Of<T>)];
        List<T> convolutionStates = [], convolutionSizes = [], states = [], stateSizes = [];
        foreach (DecodeStepLayerInputs layer in inputs.Layers)
        {
            T[] hidden = Norm(residual, layer.NormWeight, round);
            (T[] xz, T[] xzSizes) = Product(hidden, layer.InProjection.Values, rows, 2 * channels, width);
            T[] x = Half(xz, channels, 0, round), z = Half(xz, channels, channels, round);
            MixerStepWeights weights = new(
                channels, sizes.Rank, sizes.StateSize, layer.ConvolutionWeight, layer.ConvolutionBias, layer.ScanProjection.Values,
                layer.TimeStepProjection.Values, layer.TimeStepBias, layer.A, layer.D);
            MixerStepResult<T> inner =
                MixerStepOracle.Run(weights, inputs.Slots, x, z, layer.ConvolutionState, layer.State, round, value => value);
            MixerStepResult<T> size = MixerStepOracle.Run(weights, inputs.Slots, x, z, layer.ConvolutionState, layer.State, round, T.Abs);
            T[] y = Array.ConvertAll(inner.Y, value => round(value));
            (T[] added, _) = Product(y, layer.OutProjection.Values, rows, width, channels);
            for (int i = 0; i < residual.Length; i++)
            {
                residual[i] += round(added[i]);
            }

            convolutionStates.AddRange(inner.ConvolutionState);
            convolutionSizes.AddRange(ConvolutionSizes(inputs, inner.ConvolutionState, xzSizes));
            states.AddRange(inner.State);
            stateSizes.AddRange(size.State.Select(T.Abs));
        }

        (T[] logits, T[] logitSizes) = Product(Norm(residual, inputs.FinalNormWeight, round), inputs.Head.Values, rows, sizes.Vocabulary, width);
        return (
            new DecodeStepResult<T>(logits, [.. convolutionStates], [.. states]),
            new DecodeStepResult<T>(logitSizes, [.. convolutionSizes], [.. stateSizes]));
    }

    private static T Of<T>(float value) where T : IFloatingPointIeee754<T> => T.CreateChecked(value);

    private static T[] Norm<T>(T[] residual, float[] weight, Func<T, T> round) where T : IFloatingPointIeee754<T>
    {
        int width = weight.Length;
        T[] y = new T[residual.Length];
        for (int row = 0; row < residual.Length / width; row++)
        {
            T squares = T.Zero;
            for (int i = row * width; i < (row + 1) * width; i++)
            {
                squares += residual[i] * residual[i];
            }

            T root = T.Sqrt((squares / T.CreateChecked(width)) + Of<T>(DecodeStepCase.Epsilon));
            for (int i = row * width; i < (row + 1) * width; i++)
            {
                y[i] = round(residual[i] / root * Of<T>(weight[i % width]));
            }
        }

        return y;
    }

    private static (T[] Y, T[] Sizes) Product<T>(T[] x, float[] weight, int rows, int outputs, int columns) where T : IFloatingPointIeee754<T>
    {
        T[] y = new T[rows * outputs], sizes = new T[rows * outputs];
        for (int i = 0; i < y.Length; i++)
        {
            for (int k = 0; k < columns; k++)
            {
                T term = x[(i / outputs * columns) + k] * Of<T>(weight[(i % outputs * columns) + k]);
                y[i] += term;
                sizes[i] += T.Abs(term);
            }
        }

        return (y, sizes);
    }

    /// <summary>Of x and z, as they lie side by side in a row, the half that begins at a column.</summary>
    private static T[] Half<T>(T[] xz, int channels, int column, Func<T, T> round) where T : IFloatingPointIeee754<T> =>
        [.. Enumerable.Range(0, xz.Length / 2).Select(i => round(xz[(i / channels * 2 * channels) + column + (i % channels)]))];

    /// <summary>What the terms of the convolution's state amount to: x, which is new in it, is a sum.</summary>
    private static T[] ConvolutionSizes<T>(DecodeStepInputs inputs, T[] state, T[] xzSizes) where T : IFloatingPointIeee754<T>
    {
        const int History = DecodeStepCase.ConvolutionWidth - 1;
        int channels = inputs.Case.Channels;
        T[] sizes = Array.ConvertAll(state, T.Abs);
        for (int row = 0; row < inputs.Case.Rows; row++)
        {
            int newest = ((inputs.Slots[row] * History) + History - 1) * channels;
            Array.Copy(xzSizes, row * 2 * channels, sizes, newest, channels);
        }

        return sizes;
    }
}
