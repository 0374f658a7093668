using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>
/// What a selective scan leaves: y, (tokens, channels), and the state after each sequence, (slots * state size, channels).
/// </summary>
public sealed record SelectiveScanResult<T>(T[] Y, T[] FinalState);

/// <summary>
/// The selective scan as the paper writes it (section 3.2), one channel and one step after the other. In float64 it is the expected value;
/// in float32 the plain evaluation whose error sets the bound.
/// </summary>
public static class SelectiveScanOracle
{
    /// <summary>Runs the recurrence. Slots that no sequence has stay zero.</summary>
    public static SelectiveScanResult<T> Run<T>(SelectiveScanInputs inputs) where T : IFloatingPointIeee754<T>
    {
        int channels = inputs.Channels, stateSize = inputs.StateSize;
        T[] y = new T[inputs.Tokens * channels];
        T[] finalState = new T[inputs.SlotCount * stateSize * channels];
        int start = 0;
        for (int sequence = 0; sequence < inputs.Lengths.Length; start += inputs.Lengths[sequence++])
        {
            int first = start, end = start + inputs.Lengths[sequence], slot = inputs.Slots[sequence];
            _ = Parallel.For(0, channels, () => new T[stateSize], (channel, _, state) =>
            {
                for (int n = 0; n < stateSize; n++)
                {
                    state[n] = Value<T>(inputs.InitialState, StateIndex(inputs, slot, n, channel));
                }

                for (int t = first; t < end; t++)
                {
                    y[(t * channels) + channel] = Step(inputs, t, channel, state);
                }

                for (int n = 0; n < stateSize; n++)
                {
                    finalState[StateIndex(inputs, slot, n, channel)] = state[n];
                }

                return state;
            }, _ => { });
        }

        return new SelectiveScanResult<T>(y, finalState);
    }

    private static T Step<T>(SelectiveScanInputs inputs, int t, int channel, T[] state) where T : IFloatingPointIeee754<T>
    {
        int channels = inputs.Channels, stateSize = inputs.StateSize;
        int group = channel / (channels / inputs.Groups);
        T u = T.CreateChecked(inputs.U[(t * channels) + channel]);
        T delta = T.CreateChecked(inputs.Delta[(t * channels) + channel]) + Value<T>(inputs.DeltaBias, channel);
        delta = inputs.DeltaSoftplus ? Activations.Softplus(delta) : delta;
        T y = T.Zero;
        for (int n = 0; n < stateSize; n++)
        {
            int ofToken = (t * inputs.Groups * stateSize) + (group * stateSize) + n;
            int ofChannel = (n * channels) + channel;
            T a = T.CreateChecked(inputs.A[ofChannel]);
            T b = T.CreateChecked(inputs.B[inputs.ConstantB ? ofChannel : ofToken]);
            T c = T.CreateChecked(inputs.C[inputs.ConstantC ? ofChannel : ofToken]);
            state[n] = (T.Exp(delta * a) * state[n]) + (delta * b * u);
            y += c * state[n];
        }

        y += Value<T>(inputs.D, channel) * u;
        return inputs.Z is null ? y : y * Activations.Silu(T.CreateChecked(inputs.Z[(t * channels) + channel]));
    }

    private static int StateIndex(SelectiveScanInputs inputs, int slot, int n, int channel) =>
        (((slot * inputs.StateSize) + n) * inputs.Channels) + channel;

    private static T Value<T>(float[]? values, int index) where T : IFloatingPointIeee754<T> =>
        values is null ? T.Zero : T.CreateChecked(values[index]);
}
