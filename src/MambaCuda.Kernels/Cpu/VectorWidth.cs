using System.Runtime.Intrinsics;

namespace MambaCuda.Kernels;

/// <summary>A vector register of one width, so that the linear kernel is written once and compiled for each.</summary>
internal unsafe interface IVectorWidth<TVector>
{
    static abstract int Count { get; }

    static abstract TVector Zero { get; }

    static abstract TVector Load(float* source);

    static abstract void Store(TVector vector, float* destination);

    static abstract TVector LoadStored<TStored>(byte* source) where TStored : struct, IStoredFloat;

    /// <summary>What the next function takes for a scale.</summary>
    static abstract TVector Prepare<TNumbers>(float scale) where TNumbers : struct, IQuantizedNumbers;

    /// <summary>A vector of weights of a quantized row.</summary>
    static abstract TVector LoadQuantized<TNumbers>(byte* row, nint column, TVector prepared) where TNumbers : struct, IQuantizedNumbers;

    /// <summary>left * right + addend, rounded once where the processor can.</summary>
    static abstract TVector MultiplyAdd(TVector left, TVector right, TVector addend);

    /// <summary>Adds the upper half to the lower until four lanes are left.</summary>
    static abstract Vector128<float> Fold(TVector vector);
}

internal readonly unsafe struct Width256 : IVectorWidth<Vector256<float>>
{
    public static int Count => 8;

    public static Vector256<float> Zero => Vector256<float>.Zero;

    public static Vector256<float> Load(float* source) => Vector256.Load(source);

    public static void Store(Vector256<float> vector, float* destination) => vector.Store(destination);

    public static Vector256<float> LoadStored<TStored>(byte* source) where TStored : struct, IStoredFloat => TStored.Load256(source);

    public static Vector256<float> Prepare<TNumbers>(float scale) where TNumbers : struct, IQuantizedNumbers => TNumbers.Prepare256(scale);

    public static Vector256<float> LoadQuantized<TNumbers>(byte* row, nint column, Vector256<float> prepared)
        where TNumbers : struct, IQuantizedNumbers => TNumbers.Load256(row, column, prepared);

    public static Vector256<float> MultiplyAdd(Vector256<float> left, Vector256<float> right, Vector256<float> addend) =>
        Vector256.MultiplyAddEstimate(left, right, addend);

    public static Vector128<float> Fold(Vector256<float> vector) => vector.GetLower() + vector.GetUpper();
}

internal readonly unsafe struct Width512 : IVectorWidth<Vector512<float>>
{
    public static int Count => 16;

    public static Vector512<float> Zero => Vector512<float>.Zero;

    public static Vector512<float> Load(float* source) => Vector512.Load(source);

    public static void Store(Vector512<float> vector, float* destination) => vector.Store(destination);

    public static Vector512<float> LoadStored<TStored>(byte* source) where TStored : struct, IStoredFloat => TStored.Load512(source);

    public static Vector512<float> Prepare<TNumbers>(float scale) where TNumbers : struct, IQuantizedNumbers => TNumbers.Prepare512(scale);

    public static Vector512<float> LoadQuantized<TNumbers>(byte* row, nint column, Vector512<float> prepared)
        where TNumbers : struct, IQuantizedNumbers => TNumbers.Load512(row, column, prepared);

    public static Vector512<float> MultiplyAdd(Vector512<float> left, Vector512<float> right, Vector512<float> addend) =>
        Vector512.MultiplyAddEstimate(left, right, addend);

    public static Vector128<float> Fold(Vector512<float> vector)
    {
        Vector256<float> half = vector.GetLower() + vector.GetUpper();
        return half.GetLower() + half.GetUpper();
    }
}
