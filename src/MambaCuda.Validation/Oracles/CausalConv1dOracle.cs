using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>
/// What a causal convolution leaves: y, (tokens, channels), and the last inputs of each sequence, (slots * (width - 1), channels).
/// </summary>
public sealed record CausalConv1dResult<T>(T[] Y, T[] FinalState);

/// <summary>The depthwise causal convolution, one output after the other.</summary>
public static class CausalConv1dOracle
{
    /// <summary>Convolves. Slots that no sequence has stay zero.</summary>
    public static CausalConv1dResult<T> Run<T>(CausalConv1dInputs inputs) where T : IFloatingPointIeee754<T>
    {
        int channels = inputs.Channels, history = inputs.Width - 1;
        T[] y = new T[inputs.Tokens * channels];
        T[] finalState = new T[inputs.SlotCount * history * channels];
        int start = 0;
        for (int sequence = 0; sequence < inputs.Lengths.Length; start += inputs.Lengths[sequence++])
        {
            int length = inputs.Lengths[sequence];
            int stateRow = inputs.Slots[sequence] * history;
            for (int channel = 0; channel < channels; channel++)
            {
                // Step t of the sequence; before its start, what the state holds.
                T Input(int t) => t >= 0
                    ? T.CreateChecked(inputs.X[((start + t) * channels) + channel])
                    : inputs.InitialState is null ? T.Zero
                    : T.CreateChecked(inputs.InitialState[((stateRow + history + t) * channels) + channel]);

                for (int t = 0; t < length; t++)
                {
                    T sum = inputs.Bias is null ? T.Zero : T.CreateChecked(inputs.Bias[channel]);
                    for (int k = 0; k < inputs.Width; k++)
                    {
                        sum += T.CreateChecked(inputs.Weight[(k * channels) + channel]) * Input(t - history + k);
                    }

                    y[((start + t) * channels) + channel] = inputs.Silu ? Activations.Silu(sum) : sum;
                }

                for (int k = 0; k < history; k++)
                {
                    finalState[((stateRow + k) * channels) + channel] = Input(length - history + k);
                }
            }
        }

        return new CausalConv1dResult<T>(y, finalState);
    }
}
