using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>
/// What a selective scan leaves: y, (tokens, channels), and the state after each sequence, (slots * state size, channels), or where A is
/// complex (slots * 2 * state size, channels).
/// </summary>
public sealed record SelectiveScanResult<T>(T[] Y, T[] FinalState);

/// <summary>
/// The selective scan as the paper writes it (section 3.2), one channel and one step after the other; with complex A as the official
/// selective_scan_ref has it. In float64 it is the expected value; in float32 the plain evaluation whose error sets the bound.
/// </summary>
public static class SelectiveScanOracle
{
    /// <summary>Runs the recurrence. Slots that no sequence has stay zero.</summary>
    public static SelectiveScanResult<T> Run<T>(SelectiveScanInputs inputs) where T : IFloatingPointIeee754<T> =>
        Run<T>(inputs, inputs.IsComplex ? ComplexStep : Step);

    /// <summary>
    /// What the terms of each result amount to without their signs, against which rounding is to be measured: where terms cancel, a result
    /// is small and its error is not. With complex A a phase counts as what its own rounding, of one unit a radian, makes of a state;
    /// <paramref name="phaseUnit"/> is that unit by the unit that results are measured in. Right as long as delta is not negative.
    /// </summary>
    public static SelectiveScanResult<double> Magnitude(SelectiveScanInputs inputs, double phaseUnit = 1) => inputs.IsComplex
        ? ComplexMagnitude(inputs, phaseUnit)
        : Run<double>(inputs.Magnitudes());

    private static SelectiveScanResult<T> Run<T>(SelectiveScanInputs inputs, Func<SelectiveScanInputs, int, int, T[], T> step)
        where T : IFloatingPointIeee754<T>
    {
        int channels = inputs.Channels;
        T[] y = new T[inputs.Tokens * channels];
        T[] finalState = new T[inputs.SlotCount * inputs.StateRows * channels];
        int start = 0;
        for (int sequence = 0; sequence < inputs.Lengths.Length; start += inputs.Lengths[sequence++])
        {
            int first = start, end = start + inputs.Lengths[sequence], slot = inputs.Slots[sequence];
            _ = Parallel.For(0, channels, () => new T[inputs.StateRows], (channel, _, state) =>
            {
                for (int n = 0; n < state.Length; n++)
                {
                    state[n] = Value<T>(inputs.InitialState, StateIndex(inputs, slot, n, channel));
                }

                for (int t = first; t < end; t++)
                {
                    y[(t * channels) + channel] = step(inputs, t, channel, state);
                }

                for (int n = 0; n < state.Length; n++)
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
        (T u, T delta) = UAndDelta<T>(inputs, t, channel);
        T y = T.Zero;
        for (int n = 0; n < state.Length; n++)
        {
            T a = T.CreateChecked(inputs.A[(n * inputs.Channels) + channel]);
            T b = InputMatrix<T>(inputs, inputs.B, inputs.ConstantB, t, channel, n);
            T c = InputMatrix<T>(inputs, inputs.C, inputs.ConstantC, t, channel, n);
            state[n] = (T.Exp(delta * a) * state[n]) + (delta * b * u);
            y += c * state[n];
        }

        return SkipAndGate(inputs, t, channel, u, y);
    }

    private static T ComplexStep<T>(SelectiveScanInputs inputs, int t, int channel, T[] state) where T : IFloatingPointIeee754<T>
    {
        (T u, T delta) = UAndDelta<T>(inputs, t, channel);
        T y = T.Zero;
        for (int n = 0; n < state.Length; n += 2)
        {
            T size = T.Exp(delta * T.CreateChecked(inputs.A[(n / 2 * inputs.Channels) + channel]));
            (T sine, T cosine) = T.SinCos(delta * T.CreateChecked(inputs.AImaginary![(n / 2 * inputs.Channels) + channel]));
            T bReal = InputMatrix<T>(inputs, inputs.B, inputs.ConstantB, t, channel, n);
            T bImaginary = InputMatrix<T>(inputs, inputs.B, inputs.ConstantB, t, channel, n + 1);
            (T real, T imaginary) = (state[n], state[n + 1]);
            state[n] = (size * cosine * real) - (size * sine * imaginary) + (delta * bReal * u);
            state[n + 1] = (size * cosine * imaginary) + (size * sine * real) + (delta * bImaginary * u);
            y += (InputMatrix<T>(inputs, inputs.C, inputs.ConstantC, t, channel, n) * state[n])
                - (InputMatrix<T>(inputs, inputs.C, inputs.ConstantC, t, channel, n + 1) * state[n + 1]);
        }

        return SkipAndGate(inputs, t, channel, u, y + y);
    }

    // A state's two numbers stand for its size and for what the rounding of phases has made of it; both add up without turning. At the end
    // of a sequence either part may be as large as their sum.
    private static SelectiveScanResult<double> ComplexMagnitude(SelectiveScanInputs inputs, double phaseUnit)
    {
        int channels = inputs.Channels;
        float[]? initialState = inputs.InitialState?.ToArray();
        for (int i = 0; i < initialState?.Length; i++)
        {
            initialState[i] = i / channels % 2 == 0 ? float.Hypot(initialState[i], initialState[i + channels]) : 0;
        }

        SelectiveScanResult<double> result = Run<double>(
            inputs with { InitialState = initialState },
            (scan, t, channel, state) => ComplexMagnitudeStep(scan, t, channel, state, phaseUnit));
        return result with
        {
            FinalState =
            [
                .. result.FinalState.Select((_, i) => i - (i / channels % 2 * channels))
                    .Select(real => result.FinalState[real] + result.FinalState[real + channels]),
            ],
        };
    }

    private static double ComplexMagnitudeStep(SelectiveScanInputs inputs, int t, int channel, double[] state, double phaseUnit)
    {
        (double u, double delta) = UAndDelta<double>(inputs, t, channel);
        double y = 0;
        for (int n = 0; n < state.Length; n += 2)
        {
            double decay = Math.Exp(delta * inputs.A[(n / 2 * inputs.Channels) + channel]);
            double phase = Math.Abs(delta * inputs.AImaginary![(n / 2 * inputs.Channels) + channel]);
            state[n + 1] = decay * (state[n + 1] + (phaseUnit * phase * state[n]));
            state[n] = (decay * state[n]) + (delta * Math.Abs(u) * Size(inputs, inputs.B, inputs.ConstantB, t, channel, n));
            y += 2 * Size(inputs, inputs.C, inputs.ConstantC, t, channel, n) * (state[n] + state[n + 1]);
        }

        y += Math.Abs(Value<double>(inputs.D, channel) * u);
        return inputs.Z is null ? y : y * Activations.Silu((double)inputs.Z[(t * inputs.Channels) + channel]);
    }

    private static double Size(SelectiveScanInputs inputs, float[] matrix, bool constant, int t, int channel, int n) => double.Hypot(
        InputMatrix<double>(inputs, matrix, constant, t, channel, n), InputMatrix<double>(inputs, matrix, constant, t, channel, n + 1));

    private static (T U, T Delta) UAndDelta<T>(SelectiveScanInputs inputs, int t, int channel) where T : IFloatingPointIeee754<T>
    {
        int i = (t * inputs.Channels) + channel;
        T delta = T.CreateChecked(inputs.Delta[i]) + Value<T>(inputs.DeltaBias, channel);
        return (T.CreateChecked(inputs.U[i]), inputs.DeltaSoftplus ? Activations.Softplus(delta) : delta);
    }

    // A number, or a part of a complex one, of B or C.
    private static T InputMatrix<T>(SelectiveScanInputs inputs, float[] matrix, bool constant, int t, int channel, int n)
        where T : IFloatingPointIeee754<T>
    {
        int group = channel / (inputs.Channels / inputs.Groups);
        return T.CreateChecked(matrix[constant ? (n * inputs.Channels) + channel : (((t * inputs.Groups) + group) * inputs.StateRows) + n]);
    }

    private static T SkipAndGate<T>(SelectiveScanInputs inputs, int t, int channel, T u, T y) where T : IFloatingPointIeee754<T>
    {
        y += Value<T>(inputs.D, channel) * u;
        return inputs.Z is null ? y : y * Activations.Silu(T.CreateChecked(inputs.Z[(t * inputs.Channels) + channel]));
    }

    private static int StateIndex(SelectiveScanInputs inputs, int slot, int n, int channel) =>
        (((slot * inputs.StateRows) + n) * inputs.Channels) + channel;

    private static T Value<T>(float[]? values, int index) where T : IFloatingPointIeee754<T> =>
        values is null ? T.Zero : T.CreateChecked(values[index]);
}
