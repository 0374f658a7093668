using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>The inner part of a block for one token of each sequence, one number after the other.</summary>
public static class MixerStepOracle
{
    /// <summary>Runs it.</summary>
    /// <param name="inputs">The operands.</param>
    /// <param name="round">What storing an activation makes of it: of u, of low-rank delta, B and C, of delta.</param>
    /// <param name="term">What is summed of a term of y and of the state: itself, or its size.</param>
    public static MixerStepResult<T> Run<T>(MixerStepInputs inputs, Func<T, T> round, Func<T, T> term) where T : IFloatingPointIeee754<T>
    {
        MixerStepCase sizes = inputs.Case;
        MixerStepWeights weights = new(
            sizes.Channels, sizes.Rank, sizes.StateSize, inputs.ConvolutionWeight, inputs.ConvolutionBias, inputs.ScanProjection,
            inputs.TimeStepProjection, inputs.TimeStepBias, inputs.A, inputs.D);
        T[] x = Array.ConvertAll(inputs.X, Of<T>), z = Array.ConvertAll(inputs.Z, Of<T>);
        return Run(weights, inputs.Slots, x, z, inputs.ConvolutionState, inputs.State, round, term);
    }

    /// <summary>Runs it within a larger computation.</summary>
    internal static MixerStepResult<T> Run<T>(
        MixerStepWeights weights, int[] slots, T[] x, T[] z, float[] convolutionBefore, float[] before, Func<T, T> round, Func<T, T> term)
        where T : IFloatingPointIeee754<T>
    {
        (int channels, int rank, int states) = (weights.Channels, weights.Rank, weights.StateSize);
        int outputs = rank + (2 * states), history = (weights.ConvolutionWeight.Length / channels) - 1;
        T[] y = new T[x.Length];
        T[] convolutionState = Array.ConvertAll(convolutionBefore, Of<T>), state = Array.ConvertAll(before, Of<T>);
        for (int row = 0; row < slots.Length; row++)
        {
            T[] u = new T[channels], projected = new T[outputs];
            for (int channel = 0; channel < channels; channel++)
            {
                T own = x[(row * channels) + channel];
                int Place(int k) => (((slots[row] * history) + k) * channels) + channel;
                T sum = weights.ConvolutionBias is null ? T.Zero : Of<T>(weights.ConvolutionBias[channel]);
                for (int k = 0; k <= history; k++)
                {
                    sum += Of<T>(weights.ConvolutionWeight[(k * channels) + channel]) * (k < history ? convolutionState[Place(k)] : own);
                }

                for (int k = 0; k < history; k++)
                {
                    convolutionState[Place(k)] = k + 1 < history ? convolutionState[Place(k + 1)] : own;
                }

                u[channel] = round(Activations.Silu(sum));
            }

            for (int output = 0; output < outputs; output++)
            {
                T sum = T.Zero;
                for (int channel = 0; channel < channels; channel++)
                {
                    sum += u[channel] * Of<T>(weights.ScanProjection[(output * channels) + channel]);
                }

                projected[output] = round(sum);
            }

            for (int channel = 0; channel < channels; channel++)
            {
                T delta = T.Zero;
                for (int k = 0; k < rank; k++)
                {
                    delta += projected[k] * Of<T>(weights.TimeStepProjection[(channel * rank) + k]);
                }

                delta = Activations.Softplus(round(delta) + Of<T>(weights.TimeStepBias[channel]));
                T sum = term(Of<T>(weights.D[channel]) * u[channel]);
                for (int n = 0; n < states; n++)
                {
                    int at = (((slots[row] * states) + n) * channels) + channel;
                    T kept = T.Exp(delta * Of<T>(weights.A[(n * channels) + channel])) * state[at];
                    state[at] = term(kept) + term(delta * u[channel] * projected[rank + n]);
                    sum += term(state[at] * projected[rank + states + n]);
                }

                y[(row * channels) + channel] = term(sum * Activations.Silu(z[(row * channels) + channel]));
            }
        }

        return new MixerStepResult<T>(y, convolutionState, state);
    }

    private static T Of<T>(float value) where T : IFloatingPointIeee754<T> => T.CreateChecked(value);
}

/// <summary>What it multiplies by; shapes as <see cref="MixerStepInputs"/> has them.</summary>
internal sealed record MixerStepWeights(
    int Channels,
    int Rank,
    int StateSize,
    float[] ConvolutionWeight,
    float[]? ConvolutionBias,
    float[] ScanProjection,
    float[] TimeStepProjection,
    float[] TimeStepBias,
    float[] A,
    float[] D);
