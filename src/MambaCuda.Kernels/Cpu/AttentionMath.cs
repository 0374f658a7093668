using System.Numerics;

namespace MambaCuda.Kernels;

/// <summary>What attention does to the rows of a head on the CPU.</summary>
internal static unsafe class AttentionMath
{
    /// <summary>Keys whose scores are there at once.</summary>
    public const int BlockKeys = 128;

    /// <summary>The product of two rows.</summary>
    public static float Dot(float* x, float* y, int count)
    {
        Vector<float> sums = Vector<float>.Zero;
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            sums = Vector.FusedMultiplyAdd(Vector.Load(x + i), Vector.Load(y + i), sums);
        }

        float sum = Vector.Sum(sums);
        for (; i < count; i++)
        {
            sum = MathF.FusedMultiplyAdd(x[i], y[i], sum);
        }

        return sum;
    }

    /// <summary>sums += factor * row.</summary>
    public static void AddScaled(float factor, float* row, float* sums, int count)
    {
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector.FusedMultiplyAdd(new Vector<float>(factor), Vector.Load(row + i), Vector.Load(sums + i)).Store(sums + i);
        }

        for (; i < count; i++)
        {
            sums[i] = MathF.FusedMultiplyAdd(factor, row[i], sums[i]);
        }
    }

    /// <summary>x *= factor.</summary>
    public static void Scale(float* x, float factor, int count)
    {
        for (int i = 0; i < count; i++)
        {
            x[i] *= factor;
        }
    }

    /// <summary>Attention of one query to rows [0, count) of keys and values.</summary>
    /// <param name="q">The query.</param>
    /// <param name="scale">What scores are multiplied by.</param>
    /// <param name="keys">The first key.</param>
    /// <param name="keyStride">Elements from one key to the next.</param>
    /// <param name="values">The first value.</param>
    /// <param name="valueStride">Elements from one value to the next.</param>
    /// <param name="count">How many there are, at least one.</param>
    /// <param name="headSize">Elements of each.</param>
    /// <param name="y">The result.</param>
    /// <returns>log of the sum of e^score.</returns>
    public static float Attend(
        float* q, float scale, float* keys, long keyStride, float* values, long valueStride, long count, int headSize, float* y)
    {
        float* scores = stackalloc float[BlockKeys];
        float* sums = stackalloc float[Backend.MaxHeadSize];
        new Span<float>(sums, headSize).Clear();
        float largest = float.NegativeInfinity, total = 0;
        for (long first = 0; first < count; first += BlockKeys)
        {
            int block = (int)Math.Min(BlockKeys, count - first);
            float now = largest;
            for (int i = 0; i < block; i++)
            {
                scores[i] = scale * Dot(q, keys + ((first + i) * keyStride), headSize);
                now = MathF.Max(now, scores[i]);
            }

            float shrunk = MathF.Exp(largest - now);
            total *= shrunk;
            Scale(sums, shrunk, headSize);
            largest = now;
            for (int i = 0; i < block; i++)
            {
                float weight = MathF.Exp(scores[i] - largest);
                total += weight;
                AddScaled(weight, values + ((first + i) * valueStride), sums, headSize);
            }
        }

        for (int i = 0; i < headSize; i++)
        {
            y[i] = sums[i] / total;
        }

        return largest + MathF.Log(total);
    }
}
