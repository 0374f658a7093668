using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MambaCuda.Kernels;

/// <summary>
/// How the weights of a quantized row are read, one vector at a time, as float32: a number times the scale of its group, which is exact.
/// What depends on the scale alone is made once a group. Implementations are structs so that a kernel is compiled for each.
/// </summary>
internal unsafe interface IQuantizedNumbers
{
    /// <summary>One weight.</summary>
    static abstract float Load(byte* row, nint column, float scale);

    /// <summary>What the next function takes for a scale.</summary>
    static abstract Vector256<float> Prepare256(float scale);

    /// <summary>Eight weights of one group, from a multiple of eight on.</summary>
    static abstract Vector256<float> Load256(byte* row, nint column, Vector256<float> prepared);

    /// <summary>What the next function takes for a scale.</summary>
    static abstract Vector512<float> Prepare512(float scale);

    /// <summary>Sixteen weights of one group, from a multiple of sixteen on.</summary>
    static abstract Vector512<float> Load512(byte* row, nint column, Vector512<float> prepared);
}

/// <summary>One number a byte.</summary>
internal readonly unsafe struct Int8Numbers : IQuantizedNumbers
{
    public static float Load(byte* row, nint column, float scale) => (sbyte)row[column] * scale;

    public static Vector256<float> Prepare256(float scale) => Vector256.Create(scale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load256(byte* row, nint column, Vector256<float> prepared)
    {
        Vector256<int> numbers = Avx2.IsSupported
            ? Avx2.ConvertToVector256Int32((sbyte*)row + column)
            : Widen(Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(long*)(row + column)).AsSByte()));
        return Vector256.ConvertToSingle(numbers) * prepared;
    }

    public static Vector512<float> Prepare512(float scale) => Vector512.Create(scale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(byte* row, nint column, Vector512<float> prepared)
    {
        Vector128<sbyte> stored = Vector128.Load((sbyte*)row + column);
        Vector512<int> numbers = Avx512F.IsSupported
            ? Avx512F.ConvertToVector512Int32(stored)
            : Vector512.Create(Widen(Vector128.WidenLower(stored)), Widen(Vector128.WidenUpper(stored)));
        return Vector512.ConvertToSingle(numbers) * prepared;
    }

    private static Vector256<int> Widen(Vector128<short> numbers) =>
        Vector256.Create(Vector128.WidenLower(numbers), Vector128.WidenUpper(numbers));
}

/// <summary>
/// Eight numbers a word. A shift of its own for each lane brings its number to the lowest bits; where the processor looks sixteen floats up
/// at once, the number finds its weight in a table of the group's sixteen.
/// </summary>
internal readonly unsafe struct Int4Numbers : IQuantizedNumbers
{
    private const int Zero = 8;

    private static Vector256<uint> Shifts => Vector256.Create(0u, 16, 4, 20, 8, 24, 12, 28);

    public static float Load(byte* row, nint column, float scale)
    {
        int shift = ((int)column % 8 / 2 * 4) + ((int)column % 2 * 16);
        return ((int)((Word(row, column) >> shift) & 0xF) - Zero) * scale;
    }

    public static Vector256<float> Prepare256(float scale) => Vector256.Create(scale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load256(byte* row, nint column, Vector256<float> prepared)
    {
        Vector256<uint> words = Vector256.Create(Word(row, column));
        Vector256<uint> shifted;
        if (Avx2.IsSupported)
        {
            shifted = Avx2.ShiftRightLogicalVariable(words, Shifts);
        }
        else
        {
            uint word = words[0];
            shifted = Vector256.Create(word, word >> 16, word >> 4, word >> 20, word >> 8, word >> 24, word >> 12, word >> 28);
        }

        Vector256<int> numbers = (shifted & Vector256.Create(0xFu)).AsInt32() - Vector256.Create(Zero);
        return Vector256.ConvertToSingle(numbers) * prepared;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Prepare512(float scale) => Avx512F.IsSupported
        ? Vector512.Create(-8f, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7) * scale
        : Vector512.Create(scale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(byte* row, nint column, Vector512<float> prepared)
    {
        if (Avx512F.IsSupported)
        {
            // The table has sixteen places: higher bits of a lane do not count.
            Vector512<uint> words = Avx512F.PermuteVar16x32(
                Vector512.CreateScalarUnsafe(*(ulong*)(row + (column / 2))).AsUInt32(),
                Vector512.Create(0u, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
            Vector512<uint> places = Avx512F.ShiftRightLogicalVariable(
                words, Vector512.Create(0u, 16, 4, 20, 8, 24, 12, 28, 0, 16, 4, 20, 8, 24, 12, 28));
            return Avx512F.PermuteVar16x32(prepared, places.AsInt32());
        }

        Vector256<float> scale = prepared.GetLower();
        return Vector512.Create(Load256(row, column, scale), Load256(row, column + 8, scale));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Word(byte* row, nint column) => *(uint*)(row + (column / 8 * sizeof(uint)));
}
