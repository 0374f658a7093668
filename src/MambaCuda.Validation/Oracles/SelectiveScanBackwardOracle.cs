using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>
/// What the backward pass of a selective scan leaves, each gradient shaped as its operand; null where there is none. Y is the forward
/// pass's.
/// </summary>
public sealed record SelectiveScanBackwardResult<T>
{
    /// <summary>The result of the forward pass.</summary>
    public T[]? Y { get; init; }

    /// <summary>Gradient of u.</summary>
    public T[]? GradU { get; init; }

    /// <summary>Gradient of delta before bias and softplus.</summary>
    public T[]? GradDelta { get; init; }

    /// <summary>Gradient of A.</summary>
    public T[]? GradA { get; init; }

    /// <summary>Gradient of B.</summary>
    public T[]? GradB { get; init; }

    /// <summary>Gradient of C.</summary>
    public T[]? GradC { get; init; }

    /// <summary>Gradient of D.</summary>
    public T[]? GradD { get; init; }

    /// <summary>Gradient of z.</summary>
    public T[]? GradZ { get; init; }

    /// <summary>Gradient of the bias of delta.</summary>
    public T[]? GradDeltaBias { get; init; }

    /// <summary>Gradient of the state before each sequence; zero in slots that no sequence has.</summary>
    public T[]? GradInitialState { get; init; }
}

/// <summary>
/// The gradients of the selective scan by the chain rule, one channel and one step after the other, all states at hand. In float64 it is
/// the expected value; in float32 the plain evaluation whose error sets the bound. It is checked by finite differences of
/// <see cref="SelectiveScanOracle"/>.
/// </summary>
public static class SelectiveScanBackwardOracle
{
    /// <summary>The gradients of sum(y * GradY) + sum(final state * GradFinalState).</summary>
    public static SelectiveScanBackwardResult<T> Run<T>(SelectiveScanInputs inputs, SelectiveScanUpstream upstream)
        where T : IFloatingPointIeee754<T> => new Chain<T>(inputs, upstream, magnitudes: false).Run();

    /// <summary>What the terms of each gradient amount to without their signs: against that, rounding is to be measured.</summary>
    public static SelectiveScanBackwardResult<double> RunMagnitudes(SelectiveScanInputs inputs, SelectiveScanUpstream upstream) =>
        new Chain<double>(inputs.Magnitudes(), upstream.Magnitudes(), magnitudes: true).Run();

    private sealed class Chain<T> where T : IFloatingPointIeee754<T>
    {
        private readonly SelectiveScanInputs _inputs;
        private readonly SelectiveScanUpstream _upstream;
        private readonly bool _magnitudes;
        private readonly T[] _y;
        private readonly T[] _gradU;
        private readonly T[] _gradDelta;
        private readonly T[] _gradA;
        private readonly T[] _gradB;
        private readonly T[] _gradC;
        private readonly T[] _gradD;
        private readonly T[] _gradZ;
        private readonly T[] _gradDeltaBias;
        private readonly T[] _gradInitialState;

        public Chain(SelectiveScanInputs inputs, SelectiveScanUpstream upstream, bool magnitudes)
        {
            _inputs = inputs;
            _upstream = upstream;
            _magnitudes = magnitudes;
            _y = new T[inputs.U.Length];
            _gradU = new T[inputs.U.Length];
            _gradDelta = new T[inputs.U.Length];
            _gradA = new T[inputs.A.Length];
            _gradB = new T[inputs.B.Length];
            _gradC = new T[inputs.C.Length];
            _gradD = new T[inputs.Channels];
            _gradZ = new T[inputs.U.Length];
            _gradDeltaBias = new T[inputs.Channels];
            _gradInitialState = new T[inputs.SlotCount * inputs.StateSize * inputs.Channels];
        }

        public SelectiveScanBackwardResult<T> Run()
        {
            int start = 0;
            for (int sequence = 0; sequence < _inputs.Lengths.Length; start += _inputs.Lengths[sequence++])
            {
                for (int channel = 0; channel < _inputs.Channels; channel++)
                {
                    RunChannel(start, _inputs.Lengths[sequence], _inputs.Slots[sequence], channel);
                }
            }

            return new SelectiveScanBackwardResult<T>
            {
                Y = _y,
                GradU = _gradU,
                GradDelta = _gradDelta,
                GradA = _gradA,
                GradB = _gradB,
                GradC = _gradC,
                GradD = _inputs.D is null ? null : _gradD,
                GradZ = _inputs.Z is null ? null : _gradZ,
                GradDeltaBias = _inputs.DeltaBias is null ? null : _gradDeltaBias,
                GradInitialState = _gradInitialState,
            };
        }

        private void RunChannel(int start, int length, int slot, int channel)
        {
            int channels = _inputs.Channels, stateSize = _inputs.StateSize;
            int StateIndex(int n) => (((slot * stateSize) + n) * channels) + channel;

            // Row t holds the states before step t; the last, those after the last step.
            T[][] states = new T[length + 1][];
            T[] y = new T[length];
            states[0] = [.. Enumerable.Range(0, stateSize).Select(n => Value(_inputs.InitialState, StateIndex(n)))];
            for (int t = 0; t < length; t++)
            {
                states[t + 1] = new T[stateSize];
                y[t] = Forward(start + t, channel, states[t], states[t + 1]);
            }

            T[] gradState = [.. Enumerable.Range(0, stateSize).Select(n => Value(_upstream.GradFinalState, StateIndex(n)))];
            T[] exponents = new T[stateSize];
            for (int t = length - 1; t >= 0; t--)
            {
                Backward(start + t, channel, states[t], states[t + 1], y[t], gradState, exponents);
            }

            for (int n = 0; n < stateSize; n++)
            {
                _gradInitialState[StateIndex(n)] = gradState[n] + exponents[n];
            }
        }

        /// <summary>Gives y before the gate, and leaves y after it.</summary>
        private T Forward(int token, int channel, T[] before, T[] after)
        {
            int i = (token * _inputs.Channels) + channel;
            T u = T.CreateChecked(_inputs.U[i]);
            T delta = Delta(i, channel, out _);
            T y = T.Zero;
            for (int n = 0; n < before.Length; n++)
            {
                T b = T.CreateChecked(_inputs.B[IndexOfB(token, channel, n)]), c = T.CreateChecked(_inputs.C[IndexOfC(token, channel, n)]);
                after[n] = (T.Exp(delta * A(n, channel)) * before[n]) + (delta * b * u);
                y += c * after[n];
            }

            y += Value(_inputs.D, channel) * u;
            _y[i] = _inputs.Z is null ? y : y * Activations.Silu(T.CreateChecked(_inputs.Z[i]));
            return y;
        }

        /// <summary>
        /// Leads the gradient of the state back through a step. A decay is known to as many units as its exponent is large, for that is
        /// rounded before the exponential is taken; where sizes are asked for, <paramref name="exponents"/> holds what this adds up to.
        /// </summary>
        private void Backward(int token, int channel, T[] before, T[] after, T y, T[] gradState, T[] exponents)
        {
            int i = (token * _inputs.Channels) + channel;
            T u = T.CreateChecked(_inputs.U[i]);
            T delta = Delta(i, channel, out T slope);
            T grad = T.CreateChecked(_upstream.GradY[i]);
            if (_inputs.Z is not null)
            {
                T z = T.CreateChecked(_inputs.Z[i]);
                _gradZ[i] = grad * y * (_magnitudes ? SizeOfSiluSlope(z) : Activations.SiluSlope(z));
                grad *= Factor(Activations.Silu(z));
            }

            T gradU = grad * Value(_inputs.D, channel), gradDelta = T.Zero;
            _gradD[channel] += grad * u;
            for (int n = 0; n < before.Length; n++)
            {
                int ofB = IndexOfB(token, channel, n), ofC = IndexOfC(token, channel, n);
                T b = T.CreateChecked(_inputs.B[ofB]);
                gradState[n] += grad * T.CreateChecked(_inputs.C[ofC]);
                _gradC[ofC] += grad * after[n];
                T gradAfter = gradState[n] + exponents[n];
                _gradB[ofB] += gradAfter * delta * u;
                gradU += gradAfter * delta * b;
                gradDelta += gradAfter * u * b;

                T decay = T.Exp(delta * A(n, channel));
                T gradExponent = gradAfter * decay * before[n];
                gradDelta += gradExponent * Factor(A(n, channel));
                _gradA[(n * _inputs.Channels) + channel] += gradExponent * delta;
                exponents[n] = _magnitudes ? decay * (exponents[n] + (gradState[n] * T.Abs(delta * A(n, channel)))) : T.Zero;
                gradState[n] *= decay;
            }

            gradDelta *= slope;
            _gradU[i] = gradU;
            _gradDelta[i] = gradDelta;
            _gradDeltaBias[channel] += gradDelta;
        }

        private T Delta(int i, int channel, out T slope)
        {
            T delta = T.CreateChecked(_inputs.Delta[i]) + Value(_inputs.DeltaBias, channel);
            slope = _inputs.DeltaSoftplus ? Activations.Sigmoid(delta) : T.One;
            return _inputs.DeltaSoftplus ? Activations.Softplus(delta) : delta;
        }

        private T A(int n, int channel) => T.CreateChecked(_inputs.A[(n * _inputs.Channels) + channel]);

        private int IndexOfB(int token, int channel, int n) => Index(token, channel, n, _inputs.ConstantB);

        private int IndexOfC(int token, int channel, int n) => Index(token, channel, n, _inputs.ConstantC);

        private int Index(int token, int channel, int n, bool constant)
        {
            int group = channel / (_inputs.Channels / _inputs.Groups);
            return constant ? (n * _inputs.Channels) + channel : (((token * _inputs.Groups) + group) * _inputs.StateSize) + n;
        }

        /// <summary>A factor of terms that has a sign, which does not count where their size is asked for.</summary>
        private T Factor(T value) => _magnitudes ? T.Abs(value) : value;

        /// <summary>What the terms of silu's derivative amount to: below zero they cancel.</summary>
        private static T SizeOfSiluSlope(T z)
        {
            T sigmoid = Activations.Sigmoid(z);
            return sigmoid * (T.One + (T.Abs(z) * (T.One - sigmoid)));
        }

        private static T Value(float[]? values, int index) => values is null ? T.Zero : T.CreateChecked(values[index]);
    }
}
