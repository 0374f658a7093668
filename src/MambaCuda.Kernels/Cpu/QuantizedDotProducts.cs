using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MambaCuda.Kernels;

/// <summary>
/// Dot products between rows of x and rows of a quantized weight. Weights are made in registers, a number times its scale, where few rows
/// of x meet them, three at a time or one; many meet four rows of weights that were made once, as float32 in the cache. All sum in the
/// order of <see cref="DotProducts{TWidth, TVector, TStored}"/>: results are those of the same weight in float32, bit for bit, and do not
/// depend on the batch.
/// </summary>
/// <typeparam name="TWidth">The vector width.</typeparam>
/// <typeparam name="TVector">The vector of that width.</typeparam>
/// <typeparam name="TNumbers">The numbers of the weight.</typeparam>
internal static unsafe class QuantizedDotProducts<TWidth, TVector, TNumbers>
    where TWidth : struct, IVectorWidth<TVector>
    where TVector : struct
    where TNumbers : struct, IQuantizedNumbers
{
    private const int CacheLine = 64;

    /// <summary>y[m, o] = bias[o] + x[m] . w[o] for all m and o.</summary>
    public static void Run(
        float* x, long xStride, int rows, in QuantizedRows weight, int outputs, int inputs, float* bias, float* y, long yStride)
    {
        if (rows < DotProducts.ManyRows)
        {
            for (int output = 0; output < outputs; output += 4)
            {
                int count = Math.Min(4, outputs - output);
                float* biases = bias == null ? null : bias + output;
                int row = 0;
                for (; row <= rows - 3; row += 3)
                {
                    Three(x + (row * xStride), xStride, weight, output, count, inputs, biases, y + (row * yStride) + output, yStride);
                }

                for (; row < rows; row++)
                {
                    One(x + (row * xStride), weight, output, count, inputs, biases, y + (row * yStride) + output);
                }
            }

            return;
        }

        float[] rented = ArrayPool<float>.Shared.Rent(4 * inputs);
        fixed (float* made = rented)
        {
            for (int output = 0; output < outputs; output += 4)
            {
                int count = Math.Min(4, outputs - output);
                for (int i = 0; i < count; i++)
                {
                    Make(weight, output + i, inputs, made + ((long)i * inputs));
                }

                for (int row = 0; row < rows; row += DotProducts.MostRows)
                {
                    DotProducts<TWidth, TVector, StoredFloat32>.Run(
                        x + (row * xStride), xStride, Math.Min(DotProducts.MostRows, rows - row), (byte*)made, (long)inputs * sizeof(float),
                        count, inputs, bias == null ? null : bias + output, y + (row * yStride) + output, yStride);
                }
            }
        }

        ArrayPool<float>.Shared.Return(rented);
    }

    /// <summary>A row of weights as float32.</summary>
    private static void Make(in QuantizedRows weight, int output, int inputs, float* made)
    {
        byte* values = weight.Values(output);
        int whole = inputs - (inputs % TWidth.Count);
        for (int group = 0, k = 0; k < inputs; group++)
        {
            float scale = weight.Scale(output, group);
            int end = Math.Min(inputs, (group + 1) * weight.GroupSize), vectors = Math.Min(whole, end);
            TVector prepared = TWidth.Prepare<TNumbers>(scale);
            for (; k < vectors; k += TWidth.Count)
            {
                TWidth.Store(TWidth.LoadQuantized<TNumbers>(values, k, prepared), made + k);
            }

            for (; k < end; k++)
            {
                made[k] = TNumbers.Load(values, k, scale);
            }
        }
    }

    /// <summary>One row of x by up to four of the weight; a row that is not there is the last one again, and is not stored.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void One(float* x, in QuantizedRows weight, int output, int count, int inputs, float* bias, float* y)
    {
        int last = output + count - 1;
        int o1 = Math.Min(output + 1, last), o2 = Math.Min(output + 2, last), o3 = Math.Min(output + 3, last);
        byte* w0 = weight.Values(output), w1 = weight.Values(o1), w2 = weight.Values(o2), w3 = weight.Values(o3);
        int whole = inputs - (inputs % TWidth.Count), groupSize = weight.GroupSize;
        nint groupBytes = weight.GroupBytes;
        int groupsALine = Math.Max(1, CacheLine / weight.GroupBytes);
        byte* next = w3 + (w1 - w0);
        TVector a0 = TWidth.Zero, a1 = TWidth.Zero, a2 = TWidth.Zero, a3 = TWidth.Zero;
        for (int group = 0, k = 0; k < whole; group++)
        {
            // The next rows are asked for while these are used.
            if ((group & (groupsALine - 1)) == 0)
            {
                for (nint line = group * groupBytes, end = line + groupBytes; line < end; line += CacheLine)
                {
                    Prefetch(next + line, (nint)(w1 - w0));
                }
            }

            TVector p0 = TWidth.Prepare<TNumbers>(weight.Scale(output, group)), p1 = TWidth.Prepare<TNumbers>(weight.Scale(o1, group));
            TVector p2 = TWidth.Prepare<TNumbers>(weight.Scale(o2, group)), p3 = TWidth.Prepare<TNumbers>(weight.Scale(o3, group));
            for (int end = Math.Min(whole, k + groupSize); k < end; k += TWidth.Count)
            {
                TVector v = TWidth.Load(x + k);
                a0 = TWidth.MultiplyAdd(v, TWidth.LoadQuantized<TNumbers>(w0, k, p0), a0);
                a1 = TWidth.MultiplyAdd(v, TWidth.LoadQuantized<TNumbers>(w1, k, p1), a1);
                a2 = TWidth.MultiplyAdd(v, TWidth.LoadQuantized<TNumbers>(w2, k, p2), a2);
                a3 = TWidth.MultiplyAdd(v, TWidth.LoadQuantized<TNumbers>(w3, k, p3), a3);
            }
        }

        float* sums = stackalloc float[4];
        DotProducts.SumFour(TWidth.Fold(a0), TWidth.Fold(a1), TWidth.Fold(a2), TWidth.Fold(a3)).Store(sums);
        Finish(sums, x, weight, output, count, inputs, bias, y);
    }

    /// <summary>Three rows of x by up to four of the weight, as <see cref="One"/>.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Three(
        float* x, long xStride, in QuantizedRows weight, int output, int count, int inputs, float* bias, float* y, long yStride)
    {
        int last = output + count - 1;
        int o1 = Math.Min(output + 1, last), o2 = Math.Min(output + 2, last), o3 = Math.Min(output + 3, last);
        byte* w0 = weight.Values(output), w1 = weight.Values(o1), w2 = weight.Values(o2), w3 = weight.Values(o3);
        float* x1 = x + xStride, x2 = x1 + xStride;
        int whole = inputs - (inputs % TWidth.Count), groupSize = weight.GroupSize;
        TVector a00 = TWidth.Zero, a01 = TWidth.Zero, a02 = TWidth.Zero, a03 = TWidth.Zero;
        TVector a10 = TWidth.Zero, a11 = TWidth.Zero, a12 = TWidth.Zero, a13 = TWidth.Zero;
        TVector a20 = TWidth.Zero, a21 = TWidth.Zero, a22 = TWidth.Zero, a23 = TWidth.Zero;
        for (int group = 0, k = 0; k < whole; group++)
        {
            TVector p0 = TWidth.Prepare<TNumbers>(weight.Scale(output, group)), p1 = TWidth.Prepare<TNumbers>(weight.Scale(o1, group));
            TVector p2 = TWidth.Prepare<TNumbers>(weight.Scale(o2, group)), p3 = TWidth.Prepare<TNumbers>(weight.Scale(o3, group));
            for (int end = Math.Min(whole, k + groupSize); k < end; k += TWidth.Count)
            {
                TVector v0 = TWidth.Load(x + k), v1 = TWidth.Load(x1 + k), v2 = TWidth.Load(x2 + k);
                TVector b = TWidth.LoadQuantized<TNumbers>(w0, k, p0);
                a00 = TWidth.MultiplyAdd(v0, b, a00);
                a10 = TWidth.MultiplyAdd(v1, b, a10);
                a20 = TWidth.MultiplyAdd(v2, b, a20);
                b = TWidth.LoadQuantized<TNumbers>(w1, k, p1);
                a01 = TWidth.MultiplyAdd(v0, b, a01);
                a11 = TWidth.MultiplyAdd(v1, b, a11);
                a21 = TWidth.MultiplyAdd(v2, b, a21);
                b = TWidth.LoadQuantized<TNumbers>(w2, k, p2);
                a02 = TWidth.MultiplyAdd(v0, b, a02);
                a12 = TWidth.MultiplyAdd(v1, b, a12);
                a22 = TWidth.MultiplyAdd(v2, b, a22);
                b = TWidth.LoadQuantized<TNumbers>(w3, k, p3);
                a03 = TWidth.MultiplyAdd(v0, b, a03);
                a13 = TWidth.MultiplyAdd(v1, b, a13);
                a23 = TWidth.MultiplyAdd(v2, b, a23);
            }
        }

        // By way of memory: alive across calls, the compiler would write each vector to the stack at every step of the loop.
        float* sums = stackalloc float[12];
        DotProducts.SumFour(TWidth.Fold(a00), TWidth.Fold(a01), TWidth.Fold(a02), TWidth.Fold(a03)).Store(sums);
        DotProducts.SumFour(TWidth.Fold(a10), TWidth.Fold(a11), TWidth.Fold(a12), TWidth.Fold(a13)).Store(sums + 4);
        DotProducts.SumFour(TWidth.Fold(a20), TWidth.Fold(a21), TWidth.Fold(a22), TWidth.Fold(a23)).Store(sums + 8);
        for (int row = 0; row < 3; row++)
        {
            Finish(sums + (4 * row), x + (row * xStride), weight, output, count, inputs, bias, y + (row * yStride));
        }
    }

    /// <summary>Adds what no vector holds, and stores.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Finish(
        float* sums, float* x, in QuantizedRows weight, int output, int count, int inputs, float* bias, float* y)
    {
        for (int i = 0; i < count; i++)
        {
            float tail = Tail(x, weight, output + i, inputs - (inputs % TWidth.Count), inputs);
            y[i] = sums[i] + tail + (bias != null ? bias[i] : 0);
        }
    }

    private static float Tail(float* x, in QuantizedRows weight, int output, int from, int to)
    {
        float sum = 0;
        for (int k = from; k < to; k++)
        {
            sum = float.FusedMultiplyAdd(x[k], TNumbers.Load(weight.Values(output), k, weight.Scale(output, k / weight.GroupSize)), sum);
        }

        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* address, nint stride)
    {
        // A hint: past the end of the weight it does nothing.
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(address);
            Sse.Prefetch0(address + stride);
            Sse.Prefetch0(address + (2 * stride));
            Sse.Prefetch0(address + (3 * stride));
        }
    }
}

/// <summary>Rows of a quantized weight in host memory.</summary>
/// <param name="values">The numbers of the first row.</param>
/// <param name="valueStride">From a row to the next, in bytes.</param>
/// <param name="scales">The scales of the first row, bits of bfloat16.</param>
/// <param name="scaleStride">From a row to the next, in elements.</param>
/// <param name="layout">How a row is stored.</param>
internal readonly unsafe struct QuantizedRows(byte* values, long valueStride, ushort* scales, long scaleStride, QuantizedLayout layout)
{
    /// <summary>How many weights share a scale.</summary>
    public int GroupSize { get; } = layout.GroupSize;

    /// <summary>The bytes of a group's numbers.</summary>
    public int GroupBytes { get; } = layout.Type == QuantizedType.Int8 ? layout.GroupSize : layout.GroupSize / 2;

    /// <summary>The numbers of a row.</summary>
    public byte* Values(int row) => values + (row * valueStride);

    /// <summary>The scale of a group.</summary>
    public float Scale(int row, int group) => QuantizedLayout.ScaleOf(scales[(row * scaleStride) + group]);
}
