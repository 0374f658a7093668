using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda;

/// <summary>
/// Converts between the types that weights may have, by way of float32, which holds every value of the others. Narrowing rounds to the
/// nearest, ties to even; infinities stay infinite and NaN stays NaN.
/// </summary>
internal static class WeightConversion
{
    private const uint MagnitudeMask = 0x7fff_ffff;
    private const uint InfinityBits = 0x7f80_0000;
    private const uint QuietBit = 0x40;

    /// <summary>Converts elements; the place of the first finite one that the new type cannot hold, or -1.</summary>
    /// <param name="source">Elements of type <paramref name="from"/>, at any alignment.</param>
    /// <param name="from">The type to read.</param>
    /// <param name="destination">As many elements of type <paramref name="to"/>.</param>
    /// <param name="to">The type to write.</param>
    /// <param name="scratch">Room for as many float32.</param>
    public static int Convert(ReadOnlySpan<byte> source, DataType from, Span<byte> destination, DataType to, Span<float> scratch)
    {
        if (from == to)
        {
            source.CopyTo(destination);
            return -1;
        }

        Span<float> values = scratch[..(source.Length / from.Size())];
        Widen(source, from, values);
        return to switch
        {
            DataType.BFloat16 => ToBFloat16(values, MemoryMarshal.Cast<byte, ushort>(destination)),
            DataType.Float16 => ToFloat16(values, MemoryMarshal.Cast<byte, Half>(destination)),
            DataType.Float32 => Copy(values, destination),
            _ => throw new ArgumentOutOfRangeException(nameof(to), to, "Not a type of weights."),
        };
    }

    /// <summary>The bits of the nearest bfloat16, ties to even.</summary>
    public static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);

        // A NaN whose payload lies in the lower half alone would become infinite without a bit that stays.
        return (bits & MagnitudeMask) > InfinityBits
            ? (ushort)((bits >> 16) | QuietBit)
            : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }

    private static void Widen(ReadOnlySpan<byte> source, DataType from, Span<float> values)
    {
        switch (from)
        {
            case DataType.Float32:
                source.CopyTo(MemoryMarshal.AsBytes(values));
                break;
            case DataType.BFloat16:
                ReadOnlySpan<ushort> upperHalves = MemoryMarshal.Cast<byte, ushort>(source);
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = BitConverter.UInt32BitsToSingle((uint)upperHalves[i] << 16);
                }

                break;
            case DataType.Float16:
                ReadOnlySpan<Half> halves = MemoryMarshal.Cast<byte, Half>(source);
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = (float)halves[i];
                }

                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(from), from, "Not a type of weights.");
        }
    }

    private static int ToBFloat16(ReadOnlySpan<float> values, Span<ushort> results)
    {
        for (int i = 0; i < values.Length; i++)
        {
            results[i] = ToBFloat16(values[i]);
            if ((results[i] & 0x7fff) == InfinityBits >> 16 && float.IsFinite(values[i]))
            {
                return i;
            }
        }

        return -1;
    }

    private static int ToFloat16(ReadOnlySpan<float> values, Span<Half> results)
    {
        for (int i = 0; i < values.Length; i++)
        {
            results[i] = (Half)values[i];
            if (Half.IsInfinity(results[i]) && float.IsFinite(values[i]))
            {
                return i;
            }
        }

        return -1;
    }

    private static int Copy(ReadOnlySpan<float> values, Span<byte> destination)
    {
        MemoryMarshal.AsBytes(values).CopyTo(destination);
        return -1;
    }
}
