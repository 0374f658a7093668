using System.Globalization;

namespace MambaCuda.Validation;

/// <summary>How far an output of an operation is from what it must be, and how far it may be.</summary>
/// <param name="Output">The output's name, as in "y".</param>
/// <param name="Error">The error, where it is largest beside its bound; NaN where the output is.</param>
/// <param name="Bound">The bound there; 0 where every bit must be the same.</param>
public readonly record struct OutputError(string Output, double Error, double Bound)
{
    /// <summary>Error by bound: at most 1 where the output is right, NaN where it or the bound is none.</summary>
    public double Quotient => !double.IsFinite(Bound) ? double.NaN : Error == 0 ? 0 : Error / Bound;

    /// <summary>Whether the output is right. NaN is not.</summary>
    public bool IsWithin => Quotient <= 1;

    /// <summary>The error of an output that must have every bit of <paramref name="expected"/>: the largest difference.</summary>
    public static OutputError Exactly(string output, float[] expected, float[] actual)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(actual.Length, expected.Length);
        double worst = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
            {
                // -0 in place of 0 is a difference too. Math.Max keeps NaN.
                worst = Math.Max(worst, Math.Max(Math.Abs((double)actual[i] - expected[i]), double.Epsilon));
            }
        }

        return new OutputError(output, worst, 0);
    }

    /// <summary>The worse of two, one that is NaN before all others.</summary>
    public static OutputError Worse(OutputError a, OutputError b) =>
        double.IsNaN(a.Quotient) || a.Quotient > b.Quotient ? a : b;

    /// <inheritdoc/>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Output} is off by {Error:e2}, {Quotient:f2} times the bound of {Bound:e2}");
}
