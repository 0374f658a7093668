using System.Numerics;
using System.Runtime.CompilerServices;

namespace MambaCuda.Kernels;

/// <summary>
/// Elementary functions on portable vectors. Errors against float64 over the whole range, as the tests hold them: exp2 and log 1 ulp, exp,
/// sine and cosine 2 ulp, sigmoid, silu and softplus 3 ulp. NaN gives NaN. Powers below 2^-126.5 become zero, and powers from 2^127.5 on, half
/// a step before float32 ends, infinity: exp is infinite from 88.38 on, and sigmoid and silu are zero below -88.38, where they are under 4e-37.
/// </summary>
internal static class VectorMath
{
    public const float Log2E = 1.44269504f;

    /// <summary>
    /// 2^x: x is split by adding a number so large that the sum's low mantissa bits are round(x); minimax polynomial of degree 6.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Exp2(Vector<float> x)
    {
        // 2^-127 is the bit pattern 0 and 2^128 that of infinity, so the clamped ends come out right by themselves.
        // The native minimum and maximum are one instruction each; they give their second operand where one is NaN, so x stands second.
        Vector<float> clamped = Vector.MinNative(new Vector<float>(128f), Vector.MaxNative(new Vector<float>(-127f), x));
        Vector<float> shifted = clamped + new Vector<float>(12582912f);
        Vector<float> fraction = clamped - (shifted - new Vector<float>(12582912f));
        Vector<float> p = Vector.FusedMultiplyAdd(new Vector<float>(0.00015345812f), fraction, new Vector<float>(0.0013399931f));
        p = Vector.FusedMultiplyAdd(p, fraction, new Vector<float>(0.009618489f));
        p = Vector.FusedMultiplyAdd(p, fraction, new Vector<float>(0.055503288f));
        p = Vector.FusedMultiplyAdd(p, fraction, new Vector<float>(0.24022647f));
        p = Vector.FusedMultiplyAdd(p, fraction, new Vector<float>(0.6931472f));
        p = Vector.FusedMultiplyAdd(p, fraction, Vector<float>.One);
        Vector<int> power = Vector.ShiftLeft(Vector.AsVectorInt32(shifted), 23) + Vector.AsVectorInt32(Vector<float>.One);
        return p * Vector.AsVectorSingle(power);
    }

    /// <summary>
    /// <see cref="Exp2(Vector{float})"/> of four vectors, step by step side by side: one after the other, the chains of 50 cycles would
    /// fill the processor's queue of waiting operations, and each would run alone.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Exp2(ref Vector<float> x0, ref Vector<float> x1, ref Vector<float> x2, ref Vector<float> x3)
    {
        x0 = Vector.MinNative(new Vector<float>(128f), Vector.MaxNative(new Vector<float>(-127f), x0));
        x1 = Vector.MinNative(new Vector<float>(128f), Vector.MaxNative(new Vector<float>(-127f), x1));
        x2 = Vector.MinNative(new Vector<float>(128f), Vector.MaxNative(new Vector<float>(-127f), x2));
        x3 = Vector.MinNative(new Vector<float>(128f), Vector.MaxNative(new Vector<float>(-127f), x3));
        Vector<float> s0 = x0 + new Vector<float>(12582912f);
        Vector<float> s1 = x1 + new Vector<float>(12582912f);
        Vector<float> s2 = x2 + new Vector<float>(12582912f);
        Vector<float> s3 = x3 + new Vector<float>(12582912f);
        x0 -= s0 - new Vector<float>(12582912f);
        x1 -= s1 - new Vector<float>(12582912f);
        x2 -= s2 - new Vector<float>(12582912f);
        x3 -= s3 - new Vector<float>(12582912f);
        Vector<float> p0 = Vector.FusedMultiplyAdd(new Vector<float>(0.00015345812f), x0, new Vector<float>(0.0013399931f));
        Vector<float> p1 = Vector.FusedMultiplyAdd(new Vector<float>(0.00015345812f), x1, new Vector<float>(0.0013399931f));
        Vector<float> p2 = Vector.FusedMultiplyAdd(new Vector<float>(0.00015345812f), x2, new Vector<float>(0.0013399931f));
        Vector<float> p3 = Vector.FusedMultiplyAdd(new Vector<float>(0.00015345812f), x3, new Vector<float>(0.0013399931f));
        p0 = Vector.FusedMultiplyAdd(p0, x0, new Vector<float>(0.009618489f));
        p1 = Vector.FusedMultiplyAdd(p1, x1, new Vector<float>(0.009618489f));
        p2 = Vector.FusedMultiplyAdd(p2, x2, new Vector<float>(0.009618489f));
        p3 = Vector.FusedMultiplyAdd(p3, x3, new Vector<float>(0.009618489f));
        p0 = Vector.FusedMultiplyAdd(p0, x0, new Vector<float>(0.055503288f));
        p1 = Vector.FusedMultiplyAdd(p1, x1, new Vector<float>(0.055503288f));
        p2 = Vector.FusedMultiplyAdd(p2, x2, new Vector<float>(0.055503288f));
        p3 = Vector.FusedMultiplyAdd(p3, x3, new Vector<float>(0.055503288f));
        p0 = Vector.FusedMultiplyAdd(p0, x0, new Vector<float>(0.24022647f));
        p1 = Vector.FusedMultiplyAdd(p1, x1, new Vector<float>(0.24022647f));
        p2 = Vector.FusedMultiplyAdd(p2, x2, new Vector<float>(0.24022647f));
        p3 = Vector.FusedMultiplyAdd(p3, x3, new Vector<float>(0.24022647f));
        p0 = Vector.FusedMultiplyAdd(p0, x0, new Vector<float>(0.6931472f));
        p1 = Vector.FusedMultiplyAdd(p1, x1, new Vector<float>(0.6931472f));
        p2 = Vector.FusedMultiplyAdd(p2, x2, new Vector<float>(0.6931472f));
        p3 = Vector.FusedMultiplyAdd(p3, x3, new Vector<float>(0.6931472f));
        p0 = Vector.FusedMultiplyAdd(p0, x0, Vector<float>.One);
        p1 = Vector.FusedMultiplyAdd(p1, x1, Vector<float>.One);
        p2 = Vector.FusedMultiplyAdd(p2, x2, Vector<float>.One);
        p3 = Vector.FusedMultiplyAdd(p3, x3, Vector<float>.One);
        x0 = p0 * Vector.AsVectorSingle(Vector.ShiftLeft(Vector.AsVectorInt32(s0), 23) + Vector.AsVectorInt32(Vector<float>.One));
        x1 = p1 * Vector.AsVectorSingle(Vector.ShiftLeft(Vector.AsVectorInt32(s1), 23) + Vector.AsVectorInt32(Vector<float>.One));
        x2 = p2 * Vector.AsVectorSingle(Vector.ShiftLeft(Vector.AsVectorInt32(s2), 23) + Vector.AsVectorInt32(Vector<float>.One));
        x3 = p3 * Vector.AsVectorSingle(Vector.ShiftLeft(Vector.AsVectorInt32(s3), 23) + Vector.AsVectorInt32(Vector<float>.One));
    }

    /// <summary>
    /// e^x. The product x * log2(e) is carried in two parts, so that the error does not grow with x as that of Exp2(x * log2 e) does.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Exp(Vector<float> x)
    {
        Vector<float> y = x * new Vector<float>(Log2E);
        // What the product lost, and what float32 lost of log2(e). Left out where x or the result is infinite: infinity * 0 arises there.
        Vector<float> lost = Vector.FusedMultiplyAdd(x, new Vector<float>(Log2E), -y) + (x * new Vector<float>(1.925963033e-8f));
        Vector<float> result = Exp2(y);
        Vector<float> corrected = Vector.FusedMultiplyAdd(result * new Vector<float>(0.6931472f), lost, result);
        return Vector.ConditionalSelect(Vector.LessThan(Vector.Abs(y), new Vector<float>(127.5f)), corrected, result);
    }

    /// <summary>
    /// The natural logarithm of a normal positive number: exponent and mantissa apart, minimax polynomial of degree 8 on the mantissa.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Log(Vector<float> x)
    {
        // The mantissa is brought into [sqrt(1/2), sqrt(2)) by subtracting sqrt(1/2)'s bits before the exponent is cut off.
        Vector<int> bits = Vector.AsVectorInt32(x) - new Vector<int>(0x3F3504F3);
        Vector<float> exponent = Vector.ConvertToSingle(Vector.ShiftRightArithmetic(bits, 23));
        Vector<float> f = Vector.AsVectorSingle((bits & new Vector<int>(0x007FFFFF)) + new Vector<int>(0x3F3504F3)) - Vector<float>.One;
        Vector<float> p = Vector.FusedMultiplyAdd(new Vector<float>(0.069155406f), f, new Vector<float>(-0.117898644f));
        p = Vector.FusedMultiplyAdd(p, f, new Vector<float>(0.11872926f));
        p = Vector.FusedMultiplyAdd(p, f, new Vector<float>(-0.12384335f));
        p = Vector.FusedMultiplyAdd(p, f, new Vector<float>(0.14218664f));
        p = Vector.FusedMultiplyAdd(p, f, new Vector<float>(-0.16669252f));
        p = Vector.FusedMultiplyAdd(p, f, new Vector<float>(0.20002226f));
        p = Vector.FusedMultiplyAdd(p, f, new Vector<float>(-0.24999987f));
        p = Vector.FusedMultiplyAdd(p, f, new Vector<float>(0.3333331f));
        Vector<float> square = f * f;
        Vector<float> small = Vector.FusedMultiplyAdd(exponent, new Vector<float>(-2.12194440e-4f), p * f * square);
        small = Vector.FusedMultiplyAdd(new Vector<float>(-0.5f), square, small);
        return Vector.FusedMultiplyAdd(exponent, new Vector<float>(0.693359375f), f + small);
    }

    /// <summary>1 / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Sigmoid(Vector<float> x) => Vector<float>.One / (Vector<float>.One + Exp(-x));

    /// <summary>
    /// x * sigmoid(x), for which 0 * infinity does not arise: x / (1 + e^-x) with x = -infinity gives NaN as the formula does.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Silu(Vector<float> x) => x / (Vector<float>.One + Exp(-x));

    /// <summary>The derivative of <see cref="Silu"/>, s + x s (1 - s) with s = sigmoid(x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> SiluSlope(Vector<float> x)
    {
        Vector<float> sigmoid = Sigmoid(x);
        return Vector.FusedMultiplyAdd(x * sigmoid, Vector<float>.One - sigmoid, sigmoid);
    }

    /// <summary>
    /// log(1 + e^x), and x itself above 20 as in the official kernel. What 1 + e^x loses of a small e^x is put back after the logarithm,
    /// so the result is right to the last bits for very negative x too.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Softplus(Vector<float> x)
    {
        Vector<float> e = Exp(x);
        Vector<float> sum = Vector<float>.One + e;
        Vector<float> lost = e - (sum - Vector<float>.One);
        Vector<float> result = Log(sum) + (lost / sum);
        return Vector.ConditionalSelect(Vector.GreaterThan(x, new Vector<float>(20f)), x, result);
    }

    /// <summary>
    /// Sine and cosine of any number of turns: the nearest multiple of pi/2 is taken off with pi/2 in three parts (Cody and Waite), the
    /// first without rounding; minimax polynomials of degree 7 and 8 for what is left. From 1e5 on, where three parts are too few, lane by
    /// lane from the library; a lane's result never depends on its neighbours.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (Vector<float> Sine, Vector<float> Cosine) SinCos(Vector<float> x)
    {
        Vector<float> shifted = Vector.FusedMultiplyAdd(x, new Vector<float>(0.63661975f), new Vector<float>(12582912f));
        Vector<float> quarters = shifted - new Vector<float>(12582912f);
        Vector<float> r = Vector.FusedMultiplyAdd(quarters, new Vector<float>(-1.5707964f), x);
        r = Vector.FusedMultiplyAdd(quarters, new Vector<float>(4.3711388e-8f), r);
        r = Vector.FusedMultiplyAdd(quarters, new Vector<float>(1.7151245e-15f), r);
        Vector<float> z = r * r;
        Vector<float> p = Vector.FusedMultiplyAdd(new Vector<float>(-0.00019517267f), z, new Vector<float>(0.008332178f));
        p = Vector.FusedMultiplyAdd(p, z, new Vector<float>(-0.16666655f));
        Vector<float> sine = Vector.FusedMultiplyAdd(p * z, r, r);
        Vector<float> q = Vector.FusedMultiplyAdd(new Vector<float>(2.443312e-5f), z, new Vector<float>(-0.0013887316f));
        q = Vector.FusedMultiplyAdd(q, z, new Vector<float>(0.041666646f));
        q = Vector.FusedMultiplyAdd(q, z, new Vector<float>(-0.5f));
        Vector<float> cosine = Vector.FusedMultiplyAdd(q, z, Vector<float>.One);

        // A quarter of a turn swaps the two, with one sign; half a turn changes both signs.
        Vector<int> number = Vector.AsVectorInt32(shifted);
        Vector<int> odd = -(number & Vector<int>.One);
        Vector<int> sineSign = Vector.ShiftLeft(number & new Vector<int>(2), 30);
        Vector<int> cosineSign = Vector.ShiftLeft((number + Vector<int>.One) & new Vector<int>(2), 30);
        Vector<float> sineOfX = Vector.AsVectorSingle(Vector.AsVectorInt32(Vector.ConditionalSelect(odd, cosine, sine)) ^ sineSign);
        Vector<float> cosineOfX = Vector.AsVectorSingle(Vector.AsVectorInt32(Vector.ConditionalSelect(odd, sine, cosine)) ^ cosineSign);
        return Vector.LessThanAll(Vector.Abs(x), new Vector<float>(1e5f)) ? (sineOfX, cosineOfX) : WithLargeLanes(x, sineOfX, cosineOfX);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (Vector<float> Sine, Vector<float> Cosine) WithLargeLanes(Vector<float> x, Vector<float> sine, Vector<float> cosine)
    {
        for (int i = 0; i < Vector<float>.Count; i++)
        {
            // Written so that NaN is taken too.
            if (!(MathF.Abs(x[i]) < 1e5f))
            {
                (float ofSine, float ofCosine) = MathF.SinCos(x[i]);
                sine = Vector.WithElement(sine, i, ofSine);
                cosine = Vector.WithElement(cosine, i, ofCosine);
            }
        }

        return (sine, cosine);
    }
}
