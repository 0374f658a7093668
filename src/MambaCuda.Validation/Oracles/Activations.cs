using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>
/// The two activations of Mamba and their derivatives, in whatever number type: float64 gives the oracle, float32 the plain
/// evaluation it is compared with.
/// </summary>
public static class Activations
{
    /// <summary>log(1 + e^x), written so that neither end overflows or loses its small part.</summary>
    public static T Softplus<T>(T x) where T : IFloatingPointIeee754<T> =>
        T.Max(x, T.Zero) + LogOnePlus(T.Exp(-T.Abs(x)));

    /// <summary>x / (1 + e^-x).</summary>
    public static T Silu<T>(T x) where T : IFloatingPointIeee754<T> => x / (T.One + T.Exp(-x));

    /// <summary>1 / (1 + e^-x), the derivative of softplus.</summary>
    public static T Sigmoid<T>(T x) where T : IFloatingPointIeee754<T> => T.One / (T.One + T.Exp(-x));

    /// <summary>The derivative of <see cref="Silu"/>.</summary>
    public static T SiluSlope<T>(T x) where T : IFloatingPointIeee754<T>
    {
        T sigmoid = Sigmoid(x);
        return sigmoid * (T.One + (x * (T.One - sigmoid)));
    }

    /// <summary>
    /// log(1 + x). Not T.LogP1, which adds and takes the logarithm; what the addition rounds off is put right by the quotient.
    /// </summary>
    private static T LogOnePlus<T>(T x) where T : IFloatingPointIeee754<T>
    {
        T sum = T.One + x;
        return sum == T.One ? x : T.Log(sum) * (x / (sum - T.One));
    }
}
