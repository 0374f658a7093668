using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MambaCuda.Kernels;

/// <summary>
/// How a weight type is read, one vector at a time, as float32. Implementations are structs so that a kernel is compiled for each.
/// </summary>
internal unsafe interface IStoredFloat
{
    /// <summary>The size of one element in bytes.</summary>
    static abstract int Size { get; }

    /// <summary>One element.</summary>
    static abstract float Load(byte* source);

    /// <summary>Eight elements.</summary>
    static abstract Vector256<float> Load256(byte* source);

    /// <summary>Sixteen elements.</summary>
    static abstract Vector512<float> Load512(byte* source);
}

internal readonly unsafe struct StoredFloat32 : IStoredFloat
{
    public static int Size => 4;

    public static float Load(byte* source) => *(float*)source;

    public static Vector256<float> Load256(byte* source) => Vector256.Load((float*)source);

    public static Vector512<float> Load512(byte* source) => Vector512.Load((float*)source);
}

/// <summary>bfloat16 is the upper half of a float32: widening is a shift.</summary>
internal readonly unsafe struct StoredBFloat16 : IStoredFloat
{
    public static int Size => 2;

    public static float Load(byte* source) => BitConverter.UInt32BitsToSingle((uint)*(ushort*)source << 16);

    public static Vector256<float> Load256(byte* source) =>
        (StoredFloats.Widen(Vector128.Load((ushort*)source)) << 16).AsSingle();

    public static Vector512<float> Load512(byte* source) =>
        (StoredFloats.Widen(Vector256.Load((ushort*)source)) << 16).AsSingle();
}

/// <summary>
/// binary16: the exponent's bias is put right by a multiplication with 2^112, which gets subnormal numbers right too;
/// infinity and NaN, whose exponent the product would leave finite, get all exponent bits set.
/// </summary>
internal readonly unsafe struct StoredFloat16 : IStoredFloat
{
    private const float BiasDifference = 5.192296858534828e33f; // 2^112

    public static int Size => 2;

    public static float Load(byte* source) => (float)*(Half*)source;

    public static Vector256<float> Load256(byte* source)
    {
        Vector256<uint> bits = StoredFloats.Widen(Vector128.Load((ushort*)source));
        Vector256<uint> magnitude = (bits & Vector256.Create(0x7FFFu)) << 13;
        Vector256<uint> special = Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(0x7C00u << 13)) & Vector256.Create(0x7F800000u);
        Vector256<uint> sign = (bits & Vector256.Create(0x8000u)) << 16;
        return ((magnitude.AsSingle() * Vector256.Create(BiasDifference)).AsUInt32() | special | sign).AsSingle();
    }

    public static Vector512<float> Load512(byte* source)
    {
        Vector512<uint> bits = StoredFloats.Widen(Vector256.Load((ushort*)source));
        Vector512<uint> magnitude = (bits & Vector512.Create(0x7FFFu)) << 13;
        Vector512<uint> special = Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(0x7C00u << 13)) & Vector512.Create(0x7F800000u);
        Vector512<uint> sign = (bits & Vector512.Create(0x8000u)) << 16;
        return ((magnitude.AsSingle() * Vector512.Create(BiasDifference)).AsUInt32() | special | sign).AsSingle();
    }
}

/// <summary>What has code of its own for each type that floats are stored in; see <see cref="StoredFloats.Run{TBody}"/>.</summary>
internal interface IStoredBody
{
    /// <summary>Does a part of the work on elements of one type.</summary>
    void Run<TStored>(int part) where TStored : struct, IStoredFloat;
}

/// <summary>
/// Widening: of 16-bit patterns to 32 bits, where the processor has one instruction for it, and of whole rows to float32.
/// </summary>
internal static unsafe class StoredFloats
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Widen(Vector128<ushort> stored) => Avx2.IsSupported
        ? Avx2.ConvertToVector256Int32(stored).AsUInt32()
        : Vector256.Create(Vector128.WidenLower(stored), Vector128.WidenUpper(stored));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Widen(Vector256<ushort> stored) => Avx512F.IsSupported
        ? Avx512F.ConvertToVector512UInt32(stored)
        : Vector512.Create(Vector256.WidenLower(stored), Vector256.WidenUpper(stored));

    public static void Widen(byte* source, DataType type, float* destination, int count) =>
        Run(type, new WidenBody(source, destination, count), part: 0);

    /// <summary>Does a part of a work by the code for the type that its operand is stored in.</summary>
    public static void Run<TBody>(DataType type, in TBody body, int part) where TBody : struct, IStoredBody
    {
        switch (type)
        {
            case DataType.Float32:
                body.Run<StoredFloat32>(part);
                break;
            case DataType.BFloat16:
                body.Run<StoredBFloat16>(part);
                break;
            default:
                body.Run<StoredFloat16>(part);
                break;
        }
    }

    public static void Widen<TStored>(byte* source, float* destination, int count) where TStored : struct, IStoredFloat
    {
        nint i = 0;
        for (; i <= count - 16; i += 16)
        {
            TStored.Load256(source + (i * TStored.Size)).Store(destination + i);
            TStored.Load256(source + ((i + 8) * TStored.Size)).Store(destination + i + 8);
        }

        for (; i < count; i++)
        {
            destination[i] = TStored.Load(source + (i * TStored.Size));
        }
    }

    private readonly struct WidenBody(byte* source, float* destination, int count) : IStoredBody
    {
        public void Run<TStored>(int part) where TStored : struct, IStoredFloat => Widen<TStored>(source, destination, count);
    }
}
