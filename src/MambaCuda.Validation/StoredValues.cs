using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda.Validation;

/// <summary>Numbers as each weight type, and bytes, store them, converted one by one.</summary>
public static class StoredValues
{
    /// <summary>The bytes of values, rounded to nearest even.</summary>
    public static byte[] Encode(float[] values, DataType type) => type switch
    {
        DataType.Float32 => MemoryMarshal.AsBytes(values.AsSpan()).ToArray(),
        DataType.Float16 => MemoryMarshal.AsBytes<Half>(Array.ConvertAll(values, value => (Half)value)).ToArray(),
        DataType.BFloat16 => MemoryMarshal.AsBytes<ushort>(Array.ConvertAll(values, BFloat16Bits)).ToArray(),
        DataType.Int8 => Array.ConvertAll(values, value => (byte)(sbyte)Math.Clamp(value, sbyte.MinValue, sbyte.MaxValue)),
        DataType.UInt8 => Array.ConvertAll(values, value => (byte)Math.Clamp(value, byte.MinValue, byte.MaxValue)),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a weight type."),
    };

    /// <summary>The values of bytes.</summary>
    public static float[] Decode(ReadOnlySpan<byte> bytes, DataType type) => type switch
    {
        DataType.Float32 => MemoryMarshal.Cast<byte, float>(bytes).ToArray(),
        DataType.Float16 => Array.ConvertAll(MemoryMarshal.Cast<byte, Half>(bytes).ToArray(), half => (float)half),
        DataType.BFloat16 => Array.ConvertAll(
            MemoryMarshal.Cast<byte, ushort>(bytes).ToArray(), bits => BitConverter.UInt32BitsToSingle((uint)bits << 16)),
        DataType.Int8 => Array.ConvertAll(bytes.ToArray(), value => (float)(sbyte)value),
        DataType.UInt8 => Array.ConvertAll(bytes.ToArray(), value => (float)value),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a weight type."),
    };

    /// <summary>The values that remain after storing.</summary>
    public static float[] Round(float[] values, DataType type) => Decode(Encode(values, type), type);

    /// <summary>What command lines and names of cases call a type: "fp32", "bf16", "fp16" or "u8".</summary>
    public static string ShortName(DataType type) => type switch
    {
        DataType.Float32 => "fp32",
        DataType.Float16 => "fp16",
        DataType.BFloat16 => "bf16",
        DataType.UInt8 => "u8",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a weight type."),
    };

    /// <summary>2^-24, 2^-11 or 2^-8: half the distance from 1 to the next number.</summary>
    public static double UnitRoundoff(DataType type) => type switch
    {
        DataType.Float32 => Math.Pow(2, -24),
        DataType.Float16 => Math.Pow(2, -11),
        DataType.BFloat16 => Math.Pow(2, -8),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a weight type."),
    };

    /// <summary>
    /// What the recurrent state of a scan, float32 throughout, is computed to where activations have this type: with 16 bits the softplus
    /// of delta is right to 2^-16 (softplus_16 in mamba/fast_math.cuh), which is 128 times finer than delta itself is known.
    /// </summary>
    public static double StateRoundoff(DataType type) => type == DataType.Float32 ? Math.Pow(2, -24) : Math.Pow(2, -17);

    /// <summary>What a gradient is computed to: that of an activation as it is stored, the others, float32, as states are.</summary>
    /// <param name="type">The gradient's type.</param>
    /// <param name="activation">The type of activations.</param>
    public static double GradientRoundoff(DataType type, DataType activation) =>
        type == DataType.Float32 ? StateRoundoff(activation) : UnitRoundoff(type);

    private static ushort BFloat16Bits(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
