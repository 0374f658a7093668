using System.Numerics;

namespace MambaCuda.Kernels.Tests;

/// <summary>
/// The elementary functions, over a dense sample of all float32 numbers, against float64: the bounds that VectorMath states.
/// </summary>
public class VectorMathTests
{
    /// <summary>A prime, so that the sample meets every exponent and all patterns of low bits: 4.3 million numbers.</summary>
    private const uint Step = 997;

    [Fact]
    public void Exp2_is_within_1_ulp() => AssertWithin(1, VectorMath.Exp2, x => Math.Pow(2, x), -126.5f, 127.49999f);

    [Fact]
    public void Exp_is_within_2_ulp() => AssertWithin(2, VectorMath.Exp, Math.Exp, -87.68f, 88.37f);

    [Fact]
    public void Log_is_within_1_ulp() => AssertWithin(1, VectorMath.Log, Math.Log, 1.17549435e-38f, float.MaxValue);

    [Fact]
    public void Sine_is_within_2_ulp() =>
        AssertWithin(2, x => VectorMath.SinCos(x).Sine, Math.Sin, -float.MaxValue, float.MaxValue);

    [Fact]
    public void Cosine_is_within_2_ulp() =>
        AssertWithin(2, x => VectorMath.SinCos(x).Cosine, Math.Cos, -float.MaxValue, float.MaxValue);

    [Fact]
    public void Sigmoid_is_within_3_ulp() => AssertWithin(3, VectorMath.Sigmoid, x => 1 / (1 + Math.Exp(-x)), -87.68f, float.MaxValue);

    [Fact]
    public void Silu_is_within_3_ulp() => AssertWithin(3, VectorMath.Silu, x => x / (1 + Math.Exp(-x)), -87.68f, float.MaxValue);

    [Fact]
    public void Softplus_is_within_3_ulp() =>
        AssertWithin(3, VectorMath.Softplus, Validation.Activations.Softplus, -87.68f, float.MaxValue);

    [Theory]
    [InlineData(float.NegativeInfinity, 0), InlineData(-1e30f, 0), InlineData(-127f, 0), InlineData(-126.6f, 0)]
    [InlineData(0f, 1), InlineData(1f, 2), InlineData(-126f, 1.17549435e-38f), InlineData(127f, 1.7014118e38f)]
    [InlineData(127.5f, float.PositiveInfinity), InlineData(1e30f, float.PositiveInfinity)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity), InlineData(float.NaN, float.NaN)]
    public void Exp2_ends_as_stated(float x, float expected) => Assert.Equal(expected, One(VectorMath.Exp2, x));

    [Theory]
    [InlineData(float.NegativeInfinity, 0), InlineData(-1e30f, 0), InlineData(-87.7f, 0), InlineData(0f, 1)]
    [InlineData(88.38f, float.PositiveInfinity), InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void Exp_ends_as_stated(float x, float expected) => Assert.Equal(expected, One(VectorMath.Exp, x));

    [Theory]
    [InlineData(float.NegativeInfinity, 0), InlineData(-1e30f, 0), InlineData(-88.38f, 0), InlineData(0f, 0.5f)]
    [InlineData(100f, 1), InlineData(float.PositiveInfinity, 1), InlineData(float.NaN, float.NaN)]
    public void Sigmoid_ends_as_stated(float x, float expected) => Assert.Equal(expected, One(VectorMath.Sigmoid, x));

    [Theory]
    [InlineData(-1e30f, -0f), InlineData(-88.38f, -0f), InlineData(0f, 0), InlineData(1e30f, 1e30f)]
    [InlineData(float.NegativeInfinity, float.NaN)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity), InlineData(float.NaN, float.NaN)]
    public void Silu_ends_as_stated(float x, float expected) => Assert.Equal(expected, One(VectorMath.Silu, x));

    [Theory]
    [InlineData(float.NegativeInfinity, 0), InlineData(-100f, 0), InlineData(100f, 100f), InlineData(1e30f, 1e30f)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity), InlineData(float.NaN, float.NaN)]
    public void Softplus_ends_as_stated(float x, float expected) => Assert.Equal(expected, One(VectorMath.Softplus, x));

    [Theory]
    [InlineData(0f, 0f, 1f), InlineData(float.PositiveInfinity, float.NaN, float.NaN)]
    [InlineData(float.NegativeInfinity, float.NaN, float.NaN), InlineData(float.NaN, float.NaN, float.NaN)]
    public void Sine_and_cosine_end_as_stated(float x, float sine, float cosine)
    {
        Assert.Equal(sine, One(value => VectorMath.SinCos(value).Sine, x));
        Assert.Equal(cosine, One(value => VectorMath.SinCos(value).Cosine, x));
    }

    private static float One(Func<Vector<float>, Vector<float>> function, float x) => function(new Vector<float>(x))[0];

    private static void AssertWithin(
        double bound, Func<Vector<float>, Vector<float>> function, Func<double, double> exact, float first, float last)
    {
        float[] arguments = new float[Vector<float>.Count];
        int filled = 0;
        double worst = 0;
        float worstArgument = 0;
        for (ulong bits = 0; bits <= uint.MaxValue; bits += Step)
        {
            float x = BitConverter.UInt32BitsToSingle((uint)bits);
            if (!(x >= first && x <= last))
            {
                continue;
            }

            arguments[filled++] = x;
            if (filled < arguments.Length)
            {
                continue;
            }

            filled = 0;
            Vector<float> results = function(new Vector<float>(arguments));
            for (int lane = 0; lane < arguments.Length; lane++)
            {
                double expected = exact(arguments[lane]);
                double error = Math.Abs(results[lane] - expected) / Ulp(expected);
                if (!(error <= worst))
                {
                    (worst, worstArgument) = (error, arguments[lane]);
                }
            }
        }

        Assert.True(worst <= bound, $"Off by {worst:F3} ulp at {worstArgument:R}.");
    }

    /// <summary>The distance between float32 numbers about a value.</summary>
    private static double Ulp(double value) => Math.ScaleB(1, Math.Max(value == 0 ? -126 : Math.ILogB(value), -126) - 23);
}
