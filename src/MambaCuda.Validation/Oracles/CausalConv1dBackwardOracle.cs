using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>
/// What the backward pass of a causal convolution leaves, each gradient shaped as its operand; null where there is none. That of the
/// initial state is zero in slots that no sequence has.
/// </summary>
public sealed record CausalConv1dBackwardResult<T>(T[]? GradX, T[]? GradWeight, T[]? GradBias, T[]? GradInitialState);

/// <summary>
/// The gradients of the causal convolution by the chain rule, one output after the other; checked by finite differences of
/// <see cref="CausalConv1dOracle"/>.
/// </summary>
public static class CausalConv1dBackwardOracle
{
    /// <summary>The gradients of sum(y * GradY) + sum(final state * GradFinalState).</summary>
    public static CausalConv1dBackwardResult<T> Run<T>(CausalConv1dInputs inputs, CausalConv1dUpstream upstream)
        where T : IFloatingPointIeee754<T> => Run<T>(inputs, upstream, (_, sum) => Activations.SiluSlope(sum));

    /// <summary>
    /// What the terms of each gradient amount to without their signs: against that, rounding is to be measured. What stands before SiLU is
    /// known as well as its terms are, and where SiLU bends, its slope is known no better.
    /// </summary>
    public static CausalConv1dBackwardResult<double> RunMagnitudes(CausalConv1dInputs inputs, CausalConv1dUpstream upstream)
    {
        double[] sums = CausalConv1dOracle.Run<double>(inputs with { Silu = false }).Y;
        return Run<double>(inputs.Magnitudes() with { Silu = inputs.Silu }, upstream.Magnitudes(), (i, terms) =>
        {
            double sigmoid = Activations.Sigmoid(sums[i]);
            double size = sigmoid * (1 + (Math.Abs(sums[i]) * (1 - sigmoid)));
            double bend = sigmoid * (1 - sigmoid) * (2 + (sums[i] * (1 - (2 * sigmoid))));
            return size + (Math.Abs(bend) * terms);
        });
    }

    private static CausalConv1dBackwardResult<T> Run<T>(
        CausalConv1dInputs inputs, CausalConv1dUpstream upstream, Func<int, T, T> slopeOfSilu)
        where T : IFloatingPointIeee754<T>
    {
        int channels = inputs.Channels, history = inputs.Width - 1;
        T[] gradX = new T[inputs.Tokens * channels];
        T[] gradWeight = new T[inputs.Weight.Length];
        T[] gradBias = new T[channels];
        T[] gradState = new T[inputs.SlotCount * history * channels];
        int start = 0;
        for (int sequence = 0; sequence < inputs.Lengths.Length; start += inputs.Lengths[sequence++])
        {
            int length = inputs.Lengths[sequence];
            int stateRow = inputs.Slots[sequence] * history;
            for (int channel = 0; channel < channels; channel++)
            {
                // Step t of the sequence; before its start, what the state holds.
                int InX(int t) => ((start + t) * channels) + channel;
                int InState(int t) => ((stateRow + history + t) * channels) + channel;
                T Input(int t) => t >= 0 ? T.CreateChecked(inputs.X[InX(t)])
                    : inputs.InitialState is null ? T.Zero : T.CreateChecked(inputs.InitialState[InState(t)]);
                ref T Gradient(int t) => ref t >= 0 ? ref gradX[InX(t)] : ref gradState[InState(t)];

                for (int t = 0; t < length; t++)
                {
                    T sum = inputs.Bias is null ? T.Zero : T.CreateChecked(inputs.Bias[channel]);
                    for (int k = 0; k < inputs.Width; k++)
                    {
                        sum += T.CreateChecked(inputs.Weight[(k * channels) + channel]) * Input(t - history + k);
                    }

                    T grad = upstream.WholeGradY<T>(InX(t)) * (inputs.Silu ? slopeOfSilu(InX(t), sum) : T.One);
                    gradBias[channel] += grad;
                    for (int k = 0; k < inputs.Width; k++)
                    {
                        gradWeight[(k * channels) + channel] += grad * Input(t - history + k);
                        Gradient(t - history + k) += grad * T.CreateChecked(inputs.Weight[(k * channels) + channel]);
                    }
                }

                for (int k = 0; upstream.GradFinalState is not null && k < history; k++)
                {
                    Gradient(length - history + k) += T.CreateChecked(upstream.GradFinalState[((stateRow + k) * channels) + channel]);
                }
            }
        }

        return new CausalConv1dBackwardResult<T>(gradX, gradWeight, inputs.Bias is null ? null : gradBias, gradState);
    }
}
