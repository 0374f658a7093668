using System.Numerics;

namespace MambaCuda.Validation;

/// <summary>A = -exp(A_log), and its gradient.</summary>
public static class StateMatrixOracle
{
    /// <summary>-exp of each element.</summary>
    public static T[] Forward<T>(float[] logA) where T : IFloatingPointIeee754<T> =>
        Array.ConvertAll(logA, value => -T.Exp(T.CreateChecked(value)));

    /// <summary>The gradient of A_log: that of A times A, added to what it was.</summary>
    public static T[] Backward<T>(float[] a, float[] gradA, float[] gradLogA) where T : IFloatingPointIeee754<T> =>
        [.. a.Select((value, i) => T.CreateChecked(gradLogA[i]) + (T.CreateChecked(gradA[i]) * T.CreateChecked(value)))];
}
