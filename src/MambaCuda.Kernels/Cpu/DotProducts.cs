using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MambaCuda.Kernels;

/// <summary>How many rows of x <see cref="DotProducts{TWidth, TVector, TStored}"/> takes, and by which of its ways; how it sums a vector.</summary>
internal static class DotProducts
{
    /// <summary>The height of the tallest tile.</summary>
    public const int TileRows = 6;

    /// <summary>From how many rows of x on the weight is widened apart: below, that costs more than it saves.</summary>
    public const int ManyRows = 12;

    /// <summary>The most rows at a time: the sums of a panel lie on the stack, 48 KB of them.</summary>
    public const int MostRows = 192;

    /// <summary>
    /// The four sums of four lanes each: a transposition whose halves are added on the way, three additions in place of twelve.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> SumFour(Vector128<float> v0, Vector128<float> v1, Vector128<float> v2, Vector128<float> v3)
    {
        if (Sse.IsSupported)
        {
            Vector128<float> first = Sse.UnpackLow(v0, v1) + Sse.UnpackHigh(v0, v1);
            Vector128<float> second = Sse.UnpackLow(v2, v3) + Sse.UnpackHigh(v2, v3);
            return Sse.MoveLowToHigh(first, second) + Sse.MoveHighToLow(second, first);
        }

        return Vector128.Create(Sum(v0), Sum(v1), Sum(v2), Sum(v3));
    }

    /// <summary>One sum, in the order of <see cref="SumFour"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector128<float> v) => (v[0] + v[2]) + (v[1] + v[3]);
}

/// <summary>
/// Tiles of dot products between rows of x and rows of a stored weight: 6, 3 or 1 rows of x by 4 rows of the weight in registers.
/// Both operands lie along the sum, so x is not packed or transposed, a matrix-vector product is the same code as a matrix product, and
/// every dot product is summed in the same order whatever tile it falls into: results do not depend on the batch.
/// </summary>
/// <typeparam name="TWidth">The vector width.</typeparam>
/// <typeparam name="TVector">The vector of that width.</typeparam>
/// <typeparam name="TStored">The type of the weight.</typeparam>
internal static unsafe class DotProducts<TWidth, TVector, TStored>
    where TWidth : struct, IVectorWidth<TVector>
    where TVector : struct
    where TStored : struct, IStoredFloat
{
    /// <summary>
    /// How much of a sum a panel holds at most: four rows of the weight are 12 KB then, which stay in the first-level cache while the rows
    /// of x stream past them from the second.
    /// </summary>
    private const int LongestPanel = 768;

    /// <summary>
    /// y[m, o] = bias[m, o] + x[m] . w[o] for all m and o, at most <see cref="DotProducts.MostRows"/> rows of x. With few rows of x the
    /// weight passes once from memory. With many, four of its rows at a time are widened to float32, so that the multiplications do not
    /// share their ports with conversions, and all rows of x, which should fit the second-level cache, pass them by.
    /// </summary>
    /// <remarks>
    /// Rows of the bias lie <paramref name="biasStride"/> apart: 0 apart where all rows of y share one. The bias may be y itself, and the
    /// products are added to what y holds.
    /// </remarks>
    public static void Run(
        float* x, long xStride, int rows, byte* weight, long weightStride, int outputs, int inputs, float* bias, float* y, long yStride,
        long biasStride = 0)
    {
        Debug.Assert(rows <= DotProducts.MostRows, "The sums of more rows do not fit the stack.");
        if (rows < DotProducts.ManyRows)
        {
            Tiles(x, xStride, rows, weight, weightStride, outputs, inputs, bias, biasStride, y, yStride);
        }
        else
        {
            Panels(x, xStride, rows, weight, weightStride, outputs, inputs, bias, biasStride, y, yStride);
        }
    }

    /// <summary>
    /// Four rows of the weight, a part of the sum at a time: their panel lies as the tiles read it, vector by vector of the four rows,
    /// which is one stream without conflicts in the cache. The sums of all rows of x wait in memory for the next part.
    /// </summary>
    [SkipLocalsInit]
    private static void Panels(
        float* x, long xStride, int rows, byte* weight, long weightStride, int outputs, int inputs, float* bias, long biasStride, float* y,
        long yStride)
    {
        int whole = inputs - (inputs % TWidth.Count);
        int panels = Math.Max(1, (whole + LongestPanel - 1) / LongestPanel);
        int length = Math.Max(1, ((whole / panels) + TWidth.Count - 1) / TWidth.Count) * TWidth.Count;
        int rowStride = 4 * TWidth.Count, step = rowStride * sizeof(float);
        float* memory = stackalloc float[(4 * LongestPanel) + (rows * rowStride) + rowStride];
        float* panel = (float*)(((nuint)memory + 63) & ~(nuint)63), sums = panel + (4 * LongestPanel);
        for (int output = 0; output < outputs; output += 4)
        {
            int count = Math.Min(4, outputs - output);
            for (int from = 0; from == 0 || from < whole; from += length)
            {
                int terms = Math.Min(length, whole - from);
                // The last panel repeats a row for those that are not there.
                byte* w = weight + ((long)from * TStored.Size);
                Widen(
                    w + (output * weightStride), w + (Math.Min(output + 1, outputs - 1) * weightStride),
                    w + (Math.Min(output + 2, outputs - 1) * weightStride), w + (Math.Min(output + 3, outputs - 1) * weightStride), terms,
                    panel);
                for (int row = 0, height; row < rows; row += height)
                {
                    height = TallestTile(rows - row);
                    DotProducts<TWidth, TVector, StoredFloat32>.Tile(
                        height, x + (row * xStride) + from, xStride, (byte*)panel, TWidth.Count * sizeof(float), step, terms,
                        sums + (row * rowStride), fresh: from == 0);
                }
            }

            Finish(
                rows, count, sums, x, xStride, weight + (output * weightStride), weightStride, whole, inputs,
                bias == null ? null : bias + output, biasStride, y + output, yStride);
        }
    }

    /// <summary>Four rows of the weight into a panel, side by side, so that they are waited for together.</summary>
    private static void Widen(byte* w0, byte* w1, byte* w2, byte* w3, int terms, float* panel)
    {
        for (nint k = 0, at = 0; k < terms; k += TWidth.Count, at += TWidth.Count * TStored.Size, panel += 4 * TWidth.Count)
        {
            TWidth.Store(TWidth.LoadStored<TStored>(w0 + at), panel);
            TWidth.Store(TWidth.LoadStored<TStored>(w1 + at), panel + TWidth.Count);
            TWidth.Store(TWidth.LoadStored<TStored>(w2 + at), panel + (2 * TWidth.Count));
            TWidth.Store(TWidth.LoadStored<TStored>(w3 + at), panel + (3 * TWidth.Count));
        }
    }

    /// <summary>Rows of x outermost: a tile of them stays in the first-level cache while the weight's rows pass.</summary>
    [SkipLocalsInit]
    private static void Tiles(
        float* x, long xStride, int rows, byte* weight, long weightStride, int outputs, int inputs, float* bias, long biasStride, float* y,
        long yStride)
    {
        int whole = inputs - (inputs % TWidth.Count);
        int fours = outputs - (outputs % 4);
        nint step = TWidth.Count * TStored.Size;
        float* sums = stackalloc float[4 * DotProducts.TileRows * TWidth.Count];
        for (int row = 0, height; row < rows; row += height)
        {
            height = TallestTile(rows - row);
            for (int output = 0; output < fours; output += 4)
            {
                byte* w = weight + (output * weightStride);
                Tile(height, x, xStride, w, weightStride, step, whole, sums, fresh: true);
                Finish(
                    height, 4, sums, x, xStride, w, weightStride, whole, inputs, bias == null ? null : bias + output, biasStride,
                    y + output, yStride);
            }

            for (int i = 0; i < height && fours < outputs; i++)
            {
                Rest(
                    x + (i * xStride), weight, weightStride, fours, outputs, inputs, bias == null ? null : bias + (i * biasStride),
                    y + (i * yStride));
            }

            x += height * xStride;
            y += height * yStride;
            bias = bias == null ? null : bias + (height * biasStride);
        }
    }

    /// <summary>Six rows where there are registers for them, three, or one.</summary>
    private static int TallestTile(int rows) => rows >= 6 && TWidth.Count == 16 ? 6 : rows >= 3 ? 3 : 1;

    /// <summary>
    /// The sums of a tile of <paramref name="height"/> rows of x by four of the weight, a vector each, row by row; added to what they were
    /// unless they are fresh. Rows of the weight lie <paramref name="weightStride"/> bytes apart and their vectors
    /// <paramref name="weightStep"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Tile(
        int height, float* x, long xStride, byte* weight, long weightStride, nint weightStep, int length, float* sums, bool fresh)
    {
        if (height == 6)
        {
            Six(x, xStride, weight, weightStride, weightStep, length, sums, fresh);
        }
        else if (height == 3)
        {
            Three(x, xStride, weight, weightStride, weightStep, length, sums, fresh);
        }
        else
        {
            One(x, weight, weightStride, weightStep, length, sums, fresh);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Six(
        float* x, long xStride, byte* weight, long weightStride, nint weightStep, int length, float* sums, bool fresh)
    {
        float* x0 = x, x1 = x0 + xStride, x2 = x1 + xStride, x3 = x2 + xStride, x4 = x3 + xStride, x5 = x4 + xStride;
        byte* w0 = weight, w1 = w0 + weightStride, w2 = w1 + weightStride, w3 = w2 + weightStride;
        TVector a00 = TWidth.Zero, a01 = TWidth.Zero, a02 = TWidth.Zero, a03 = TWidth.Zero;
        TVector a10 = TWidth.Zero, a11 = TWidth.Zero, a12 = TWidth.Zero, a13 = TWidth.Zero;
        TVector a20 = TWidth.Zero, a21 = TWidth.Zero, a22 = TWidth.Zero, a23 = TWidth.Zero;
        TVector a30 = TWidth.Zero, a31 = TWidth.Zero, a32 = TWidth.Zero, a33 = TWidth.Zero;
        TVector a40 = TWidth.Zero, a41 = TWidth.Zero, a42 = TWidth.Zero, a43 = TWidth.Zero;
        TVector a50 = TWidth.Zero, a51 = TWidth.Zero, a52 = TWidth.Zero, a53 = TWidth.Zero;
        if (!fresh)
        {
            a00 = TWidth.Load(sums);
            a01 = TWidth.Load(sums + TWidth.Count);
            a02 = TWidth.Load(sums + (2 * TWidth.Count));
            a03 = TWidth.Load(sums + (3 * TWidth.Count));
            a10 = TWidth.Load(sums + (4 * TWidth.Count));
            a11 = TWidth.Load(sums + (5 * TWidth.Count));
            a12 = TWidth.Load(sums + (6 * TWidth.Count));
            a13 = TWidth.Load(sums + (7 * TWidth.Count));
            a20 = TWidth.Load(sums + (8 * TWidth.Count));
            a21 = TWidth.Load(sums + (9 * TWidth.Count));
            a22 = TWidth.Load(sums + (10 * TWidth.Count));
            a23 = TWidth.Load(sums + (11 * TWidth.Count));
            a30 = TWidth.Load(sums + (12 * TWidth.Count));
            a31 = TWidth.Load(sums + (13 * TWidth.Count));
            a32 = TWidth.Load(sums + (14 * TWidth.Count));
            a33 = TWidth.Load(sums + (15 * TWidth.Count));
            a40 = TWidth.Load(sums + (16 * TWidth.Count));
            a41 = TWidth.Load(sums + (17 * TWidth.Count));
            a42 = TWidth.Load(sums + (18 * TWidth.Count));
            a43 = TWidth.Load(sums + (19 * TWidth.Count));
            a50 = TWidth.Load(sums + (20 * TWidth.Count));
            a51 = TWidth.Load(sums + (21 * TWidth.Count));
            a52 = TWidth.Load(sums + (22 * TWidth.Count));
            a53 = TWidth.Load(sums + (23 * TWidth.Count));
        }

        nint at = 0;
        for (nint k = 0; k < length; k += TWidth.Count, at += weightStep)
        {
            TVector b0 = TWidth.LoadStored<TStored>(w0 + at), b1 = TWidth.LoadStored<TStored>(w1 + at);
            TVector b2 = TWidth.LoadStored<TStored>(w2 + at), b3 = TWidth.LoadStored<TStored>(w3 + at);
            TVector v = TWidth.Load(x0 + k);
            a00 = TWidth.MultiplyAdd(v, b0, a00);
            a01 = TWidth.MultiplyAdd(v, b1, a01);
            a02 = TWidth.MultiplyAdd(v, b2, a02);
            a03 = TWidth.MultiplyAdd(v, b3, a03);
            v = TWidth.Load(x1 + k);
            a10 = TWidth.MultiplyAdd(v, b0, a10);
            a11 = TWidth.MultiplyAdd(v, b1, a11);
            a12 = TWidth.MultiplyAdd(v, b2, a12);
            a13 = TWidth.MultiplyAdd(v, b3, a13);
            v = TWidth.Load(x2 + k);
            a20 = TWidth.MultiplyAdd(v, b0, a20);
            a21 = TWidth.MultiplyAdd(v, b1, a21);
            a22 = TWidth.MultiplyAdd(v, b2, a22);
            a23 = TWidth.MultiplyAdd(v, b3, a23);
            v = TWidth.Load(x3 + k);
            a30 = TWidth.MultiplyAdd(v, b0, a30);
            a31 = TWidth.MultiplyAdd(v, b1, a31);
            a32 = TWidth.MultiplyAdd(v, b2, a32);
            a33 = TWidth.MultiplyAdd(v, b3, a33);
            v = TWidth.Load(x4 + k);
            a40 = TWidth.MultiplyAdd(v, b0, a40);
            a41 = TWidth.MultiplyAdd(v, b1, a41);
            a42 = TWidth.MultiplyAdd(v, b2, a42);
            a43 = TWidth.MultiplyAdd(v, b3, a43);
            v = TWidth.Load(x5 + k);
            a50 = TWidth.MultiplyAdd(v, b0, a50);
            a51 = TWidth.MultiplyAdd(v, b1, a51);
            a52 = TWidth.MultiplyAdd(v, b2, a52);
            a53 = TWidth.MultiplyAdd(v, b3, a53);
        }

        TWidth.Store(a00, sums);
        TWidth.Store(a01, sums + TWidth.Count);
        TWidth.Store(a02, sums + (2 * TWidth.Count));
        TWidth.Store(a03, sums + (3 * TWidth.Count));
        TWidth.Store(a10, sums + (4 * TWidth.Count));
        TWidth.Store(a11, sums + (5 * TWidth.Count));
        TWidth.Store(a12, sums + (6 * TWidth.Count));
        TWidth.Store(a13, sums + (7 * TWidth.Count));
        TWidth.Store(a20, sums + (8 * TWidth.Count));
        TWidth.Store(a21, sums + (9 * TWidth.Count));
        TWidth.Store(a22, sums + (10 * TWidth.Count));
        TWidth.Store(a23, sums + (11 * TWidth.Count));
        TWidth.Store(a30, sums + (12 * TWidth.Count));
        TWidth.Store(a31, sums + (13 * TWidth.Count));
        TWidth.Store(a32, sums + (14 * TWidth.Count));
        TWidth.Store(a33, sums + (15 * TWidth.Count));
        TWidth.Store(a40, sums + (16 * TWidth.Count));
        TWidth.Store(a41, sums + (17 * TWidth.Count));
        TWidth.Store(a42, sums + (18 * TWidth.Count));
        TWidth.Store(a43, sums + (19 * TWidth.Count));
        TWidth.Store(a50, sums + (20 * TWidth.Count));
        TWidth.Store(a51, sums + (21 * TWidth.Count));
        TWidth.Store(a52, sums + (22 * TWidth.Count));
        TWidth.Store(a53, sums + (23 * TWidth.Count));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Three(
        float* x, long xStride, byte* weight, long weightStride, nint weightStep, int length, float* sums, bool fresh)
    {
        float* x0 = x, x1 = x0 + xStride, x2 = x1 + xStride;
        byte* w0 = weight, w1 = w0 + weightStride, w2 = w1 + weightStride, w3 = w2 + weightStride;
        TVector a00 = TWidth.Zero, a01 = TWidth.Zero, a02 = TWidth.Zero, a03 = TWidth.Zero;
        TVector a10 = TWidth.Zero, a11 = TWidth.Zero, a12 = TWidth.Zero, a13 = TWidth.Zero;
        TVector a20 = TWidth.Zero, a21 = TWidth.Zero, a22 = TWidth.Zero, a23 = TWidth.Zero;
        if (!fresh)
        {
            a00 = TWidth.Load(sums);
            a01 = TWidth.Load(sums + TWidth.Count);
            a02 = TWidth.Load(sums + (2 * TWidth.Count));
            a03 = TWidth.Load(sums + (3 * TWidth.Count));
            a10 = TWidth.Load(sums + (4 * TWidth.Count));
            a11 = TWidth.Load(sums + (5 * TWidth.Count));
            a12 = TWidth.Load(sums + (6 * TWidth.Count));
            a13 = TWidth.Load(sums + (7 * TWidth.Count));
            a20 = TWidth.Load(sums + (8 * TWidth.Count));
            a21 = TWidth.Load(sums + (9 * TWidth.Count));
            a22 = TWidth.Load(sums + (10 * TWidth.Count));
            a23 = TWidth.Load(sums + (11 * TWidth.Count));
        }

        nint at = 0;
        for (nint k = 0; k < length; k += TWidth.Count, at += weightStep)
        {
            TVector v0 = TWidth.Load(x0 + k), v1 = TWidth.Load(x1 + k), v2 = TWidth.Load(x2 + k);
            TVector b = TWidth.LoadStored<TStored>(w0 + at);
            a00 = TWidth.MultiplyAdd(v0, b, a00);
            a10 = TWidth.MultiplyAdd(v1, b, a10);
            a20 = TWidth.MultiplyAdd(v2, b, a20);
            b = TWidth.LoadStored<TStored>(w1 + at);
            a01 = TWidth.MultiplyAdd(v0, b, a01);
            a11 = TWidth.MultiplyAdd(v1, b, a11);
            a21 = TWidth.MultiplyAdd(v2, b, a21);
            b = TWidth.LoadStored<TStored>(w2 + at);
            a02 = TWidth.MultiplyAdd(v0, b, a02);
            a12 = TWidth.MultiplyAdd(v1, b, a12);
            a22 = TWidth.MultiplyAdd(v2, b, a22);
            b = TWidth.LoadStored<TStored>(w3 + at);
            a03 = TWidth.MultiplyAdd(v0, b, a03);
            a13 = TWidth.MultiplyAdd(v1, b, a13);
            a23 = TWidth.MultiplyAdd(v2, b, a23);
        }

        TWidth.Store(a00, sums);
        TWidth.Store(a01, sums + TWidth.Count);
        TWidth.Store(a02, sums + (2 * TWidth.Count));
        TWidth.Store(a03, sums + (3 * TWidth.Count));
        TWidth.Store(a10, sums + (4 * TWidth.Count));
        TWidth.Store(a11, sums + (5 * TWidth.Count));
        TWidth.Store(a12, sums + (6 * TWidth.Count));
        TWidth.Store(a13, sums + (7 * TWidth.Count));
        TWidth.Store(a20, sums + (8 * TWidth.Count));
        TWidth.Store(a21, sums + (9 * TWidth.Count));
        TWidth.Store(a22, sums + (10 * TWidth.Count));
        TWidth.Store(a23, sums + (11 * TWidth.Count));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void One(float* x, byte* weight, long weightStride, nint weightStep, int length, float* sums, bool fresh)
    {
        byte* w0 = weight, w1 = w0 + weightStride, w2 = w1 + weightStride, w3 = w2 + weightStride, next = w3 + weightStride;
        TVector a0 = TWidth.Zero, a1 = TWidth.Zero, a2 = TWidth.Zero, a3 = TWidth.Zero;
        if (!fresh)
        {
            a0 = TWidth.Load(sums);
            a1 = TWidth.Load(sums + TWidth.Count);
            a2 = TWidth.Load(sums + (2 * TWidth.Count));
            a3 = TWidth.Load(sums + (3 * TWidth.Count));
        }

        nint at = 0;
        for (nint k = 0; k < length; k += TWidth.Count, at += weightStep)
        {
            // One row of x reads each weight once, from memory: the next rows are asked for while these are used.
            Prefetch(next + at);
            Prefetch(next + at + weightStride);
            Prefetch(next + at + (2 * weightStride));
            Prefetch(next + at + (3 * weightStride));
            TVector v = TWidth.Load(x + k);
            a0 = TWidth.MultiplyAdd(v, TWidth.LoadStored<TStored>(w0 + at), a0);
            a1 = TWidth.MultiplyAdd(v, TWidth.LoadStored<TStored>(w1 + at), a1);
            a2 = TWidth.MultiplyAdd(v, TWidth.LoadStored<TStored>(w2 + at), a2);
            a3 = TWidth.MultiplyAdd(v, TWidth.LoadStored<TStored>(w3 + at), a3);
        }

        TWidth.Store(a0, sums);
        TWidth.Store(a1, sums + TWidth.Count);
        TWidth.Store(a2, sums + (2 * TWidth.Count));
        TWidth.Store(a3, sums + (3 * TWidth.Count));
    }

    /// <summary>The last outputs % 4 columns.</summary>
    private static void Rest(
        float* x, byte* weight, long weightStride, int firstOutput, int outputs, int inputs, float* bias, float* y)
    {
        int whole = inputs - (inputs % TWidth.Count);
        for (int output = firstOutput; output < outputs; output++)
        {
            byte* w = weight + (output * weightStride);
            TVector a = TWidth.Zero;
            for (int k = 0; k < whole; k += TWidth.Count)
            {
                a = TWidth.MultiplyAdd(TWidth.Load(x + k), TWidth.LoadStored<TStored>(w + ((long)k * TStored.Size)), a);
            }

            y[output] = DotProducts.Sum(TWidth.Fold(a)) + Tail(x, w, whole, inputs) + (bias != null ? bias[output] : 0);
        }
    }

    /// <summary>
    /// Sums the four vectors of each row and stores the results, of which <paramref name="count"/> are wanted. The vectors come by way of
    /// memory, once a tile: handed over in registers they would be alive across calls, and the compiler would then write each to the stack
    /// at every step of the loop.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Finish(
        int rows, int count, float* sums, float* x, long xStride, byte* weight, long weightStride, int whole, int inputs, float* bias,
        long biasStride, float* y, long yStride)
    {
        for (int row = 0; row < rows; row++)
        {
            Vector128<float> result = DotProducts.SumFour(
                TWidth.Fold(TWidth.Load(sums)), TWidth.Fold(TWidth.Load(sums + TWidth.Count)),
                TWidth.Fold(TWidth.Load(sums + (2 * TWidth.Count))), TWidth.Fold(TWidth.Load(sums + (3 * TWidth.Count))));
            if (count == 4)
            {
                if (whole < inputs)
                {
                    result += Vector128.Create(
                        Tail(x, weight, whole, inputs), Tail(x, weight + weightStride, whole, inputs),
                        Tail(x, weight + (2 * weightStride), whole, inputs), Tail(x, weight + (3 * weightStride), whole, inputs));
                }

                (bias != null ? result + Vector128.Load(bias) : result).Store(y);
            }
            else
            {
                for (int i = 0; i < count; i++)
                {
                    y[i] = result[i] + Tail(x, weight + (i * weightStride), whole, inputs) + (bias != null ? bias[i] : 0);
                }
            }

            bias = bias == null ? null : bias + biasStride;
            sums += 4 * TWidth.Count;
            x += xStride;
            y += yStride;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* address)
    {
        // A hint: past the end of the weight it does nothing.
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(address);
        }
    }

    private static float Tail(float* x, byte* weight, int from, int to)
    {
        float sum = 0;
        for (int k = from; k < to; k++)
        {
            sum = float.FusedMultiplyAdd(x[k], TStored.Load(weight + ((long)k * TStored.Size)), sum);
        }

        return sum;
    }
}
