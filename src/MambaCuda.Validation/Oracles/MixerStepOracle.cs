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
        (int channels, int rank, int states, int history) = (sizes.Channels, sizes.Rank, sizes.StateSize, sizes.Width - 1);
        int outputs = rank + (2 * states);
        static T Of(float value) => T.CreateChecked(value);
        T[] y = new T[inputs.X.Length];
        T[] convolutionState = Array.ConvertAll(inputs.ConvolutionState, Of), state = Array.ConvertAll(inputs.State, Of);
        for (int row = 0; row < sizes.Rows; row++)
        {
            T[] u = new T[channels], projected = new T[outputs];
            for (int channel = 0; channel < channels; channel++)
            {
                T x = Of(inputs.X[(row * channels) + channel]);
                int Place(int k) => (((inputs.Slots[row] * history) + k) * channels) + channel;
                T sum = inputs.ConvolutionBias is null ? T.Zero : Of(inputs.ConvolutionBias[channel]);
                for (int k = 0; k <= history; k++)
                {
                    sum += Of(inputs.ConvolutionWeight[(k * channels) + channel]) * (k < history ? convolutionState[Place(k)] : x);
                }

                for (int k = 0; k < history; k++)
                {
                    convolutionState[Place(k)] = k + 1 < history ? convolutionState[Place(k + 1)] : x;
                }

                u[channel] = round(Activations.Silu(sum));
            }

            for (int output = 0; output < outputs; output++)
            {
                T sum = T.Zero;
                for (int channel = 0; channel < channels; channel++)
                {
                    sum += u[channel] * Of(inputs.ScanProjection[(output * channels) + channel]);
                }

                projected[output] = round(sum);
            }

            for (int channel = 0; channel < channels; channel++)
            {
                T delta = T.Zero;
                for (int k = 0; k < rank; k++)
                {
                    delta += projected[k] * Of(inputs.TimeStepProjection[(channel * rank) + k]);
                }

                delta = Activations.Softplus(round(delta) + Of(inputs.TimeStepBias[channel]));
                T sum = term(Of(inputs.D[channel]) * u[channel]);
                for (int n = 0; n < states; n++)
                {
                    int at = (((inputs.Slots[row] * states) + n) * channels) + channel;
                    T kept = T.Exp(delta * Of(inputs.A[(n * channels) + channel])) * state[at];
                    state[at] = term(kept) + term(delta * u[channel] * projected[rank + n]);
                    sum += term(state[at] * projected[rank + states + n]);
                }

                y[(row * channels) + channel] = term(sum * Activations.Silu(Of(inputs.Z[(row * channels) + channel])));
            }
        }

        return new MixerStepResult<T>(y, convolutionState, state);
    }
}
