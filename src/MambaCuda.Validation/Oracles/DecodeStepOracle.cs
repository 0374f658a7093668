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
            T[] convolution = Array.ConvertAll(layer.ConvolutionState, Of<T>), state = Array.ConvertAll(layer.State, Of<T>);
            T[] convolutionSize = Array.ConvertAll(convolution, T.Abs), stateSize = Array.ConvertAll(state, T.Abs);
            T[] u = Convolve(inputs, layer, Array.ConvertAll(xz, value => round(value)), xzSizes, convolution, convolutionSize, round);
            (T[] projected, _) = Product(u, layer.ScanProjection.Values, rows, sizes.Rank + (2 * sizes.StateSize), channels);
            T[] y = Advance(inputs, layer, u, Array.ConvertAll(projected, value => round(value)), state, stateSize, round);
            for (int i = 0; i < y.Length; i++)
            {
                y[i] = round(y[i] * Activations.Silu(round(xz[(i / channels * 2 * channels) + channels + (i % channels)])));
            }

            (T[] added, _) = Product(y, layer.OutProjection.Values, rows, width, channels);
            for (int i = 0; i < residual.Length; i++)
            {
                residual[i] += round(added[i]);
            }

            convolutionStates.AddRange(convolution);
            convolutionSizes.AddRange(convolutionSize);
            states.AddRange(state);
            stateSizes.AddRange(stateSize);
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

    /// <summary>Gives u, and puts x at the end of the convolution's state.</summary>
    private static T[] Convolve<T>(
        DecodeStepInputs inputs, DecodeStepLayerInputs layer, T[] xz, T[] xzSizes, T[] state, T[] stateSizes, Func<T, T> round)
        where T : IFloatingPointIeee754<T>
    {
        const int History = DecodeStepCase.ConvolutionWidth - 1;
        int channels = inputs.Case.Channels;
        T[] u = new T[inputs.Case.Rows * channels];
        for (int i = 0; i < u.Length; i++)
        {
            (int row, int channel) = (i / channels, i % channels);
            int Place(int k) => (((inputs.Slots[row] * History) + k) * channels) + channel;
            int at = (row * 2 * channels) + channel;
            T sum = layer.ConvolutionBias is null ? T.Zero : Of<T>(layer.ConvolutionBias[channel]);
            for (int k = 0; k <= History; k++)
            {
                sum += Of<T>(layer.ConvolutionWeight[(k * channels) + channel]) * (k < History ? state[Place(k)] : xz[at]);
            }

            for (int k = 0; k < History; k++)
            {
                state[Place(k)] = k + 1 < History ? state[Place(k + 1)] : xz[at];
                stateSizes[Place(k)] = k + 1 < History ? stateSizes[Place(k + 1)] : xzSizes[at];
            }

            u[i] = round(Activations.Silu(sum));
        }

        return u;
    }

    /// <summary>Advances the scan's state and gives y before the gate.</summary>
    private static T[] Advance<T>(
        DecodeStepInputs inputs, DecodeStepLayerInputs layer, T[] u, T[] projected, T[] state, T[] stateSizes, Func<T, T> round)
        where T : IFloatingPointIeee754<T>
    {
        DecodeStepCase sizes = inputs.Case;
        (int channels, int rank, int states) = (sizes.Channels, sizes.Rank, sizes.StateSize);
        T[] y = new T[u.Length];
        for (int i = 0; i < u.Length; i++)
        {
            (int row, int channel) = (i / channels, i % channels);
            int first = row * (rank + (2 * states));
            T delta = T.Zero;
            for (int k = 0; k < rank; k++)
            {
                delta += projected[first + k] * Of<T>(layer.TimeStepProjection.Values[(channel * rank) + k]);
            }

            delta = Activations.Softplus(round(delta) + Of<T>(layer.TimeStepBias[channel]));
            y[i] = Of<T>(layer.D[channel]) * u[i];
            for (int n = 0; n < states; n++)
            {
                int at = (((inputs.Slots[row] * states) + n) * channels) + channel;
                T kept = T.Exp(delta * Of<T>(layer.A[(n * channels) + channel])) * state[at];
                T given = delta * u[i] * projected[first + rank + n];
                state[at] = kept + given;
                stateSizes[at] = T.Abs(kept) + T.Abs(given);
                y[i] += state[at] * projected[first + rank + states + n];
            }
        }

        return y;
    }
}
