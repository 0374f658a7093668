using System.Numerics;
using System.Runtime.CompilerServices;

namespace MambaCuda.Kernels;

/// <summary>
/// The rows of a Float32 view by address, found once an operation: a view leads to its memory through two objects, which is too far to go
/// for every vector. A null start means "none".
/// </summary>
internal readonly unsafe struct FloatRows(float* start, long stride)
{
    private readonly float* _start = start;
    private readonly long _stride = stride;

    public bool IsNone => _start == null;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float* Row(long row) => _start + (row * _stride);

    /// <summary>A vector from a row, the lanes past <paramref name="lanes"/> zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector<float> Get(long row, int column, int lanes)
    {
        float* source = Row(row) + column;
        return lanes == Vector<float>.Count ? Vector.Load(source) : Part(source, lanes);
    }

    /// <summary>A vector from a row, or zeros where there is no view.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector<float> GetOrZero(long row, int column, int lanes) => IsNone ? Vector<float>.Zero : Get(row, column, lanes);

    /// <summary>Stores the first <paramref name="lanes"/> lanes of a vector into a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Set(long row, int column, int lanes, Vector<float> value)
    {
        float* destination = Row(row) + column;
        if (lanes == Vector<float>.Count)
        {
            value.Store(destination);
        }
        else
        {
            SetPart(destination, lanes, value);
        }
    }

    /// <summary>sums += terms.</summary>
    public static void Add(float* terms, float* sums, int count) => Add(sums, terms, sums, count);

    /// <summary>sums = first + second; sums may be either.</summary>
    public static void Add(float* first, float* second, float* sums, int count)
    {
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            (Vector.Load(first + i) + Vector.Load(second + i)).Store(sums + i);
        }

        for (; i < count; i++)
        {
            sums[i] = first[i] + second[i];
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Vector<float> Part(float* source, int lanes)
    {
        Vector<float> partial = Vector<float>.Zero;
        new ReadOnlySpan<float>(source, lanes).CopyTo(new Span<float>(&partial, Vector<float>.Count));
        return partial;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void SetPart(float* destination, int lanes, Vector<float> value) =>
        new ReadOnlySpan<float>(&value, lanes).CopyTo(new Span<float>(destination, lanes));
}
