using System.Numerics;

namespace MambaCuda.Kernels;

/// <summary>Float32 rounded to a weight type, to nearest and ties to even, whole rows at a time.</summary>
internal static unsafe class NarrowedFloats
{
    /// <summary>Stores <paramref name="count"/> numbers as the type.</summary>
    public static void Store(float* source, DataType type, byte* destination, int count)
    {
        switch (type)
        {
            case DataType.Float32:
                Buffer.MemoryCopy(source, destination, (long)count * sizeof(float), (long)count * sizeof(float));
                break;
            case DataType.BFloat16:
                Store<BFloat16Rounding>(source, (ushort*)destination, count);
                break;
            default:
                Store<Float16Rounding>(source, (ushort*)destination, count);
                break;
        }
    }

    private static void Store<TRounding>(float* source, ushort* destination, int count) where TRounding : struct, IRounding
    {
        int width = Vector<float>.Count;
        int i = 0;
        for (; i <= count - (2 * width); i += 2 * width)
        {
            Vector<uint> low = TRounding.Round(Vector.Load(source + i)), high = TRounding.Round(Vector.Load(source + i + width));
            Vector.Narrow(low, high).Store(destination + i);
        }

        for (; i < count; i++)
        {
            destination[i] = (ushort)TRounding.Round(new Vector<float>(source[i]))[0];
        }
    }

    /// <summary>16-bit patterns of float32 numbers.</summary>
    private interface IRounding
    {
        static abstract Vector<uint> Round(Vector<float> value);
    }

    private readonly struct BFloat16Rounding : IRounding
    {
        public static Vector<uint> Round(Vector<float> value)
        {
            Vector<uint> bits = Vector.AsVectorUInt32(value);
            Vector<uint> even = Vector.ShiftRightLogical(bits, 16) & Vector<uint>.One;
            Vector<uint> rounded = Vector.ShiftRightLogical(bits + new Vector<uint>(0x7FFF) + even, 16);

            // The carry would make infinity, or a number, of some NaN.
            Vector<uint> quiet = Vector.ShiftRightLogical(bits, 16) | new Vector<uint>(0x40);
            return Vector.ConditionalSelect(Vector.AsVectorUInt32(Vector.Equals(value, value)), rounded, quiet);
        }
    }

    /// <summary>
    /// A number that binary16 holds as a subnormal is rounded by adding 0.5, whose last place is that of the subnormals; the exponent of
    /// every other is rebased and its mantissa rounded by a carry, which rounds the largest up to infinity as it should.
    /// </summary>
    private readonly struct Float16Rounding : IRounding
    {
        private const uint SmallestNormal = (127 - 14) << 23;
        private const uint Infinite = (127 + 16) << 23;
        private const uint Half = (127 - 1) << 23;

        public static Vector<uint> Round(Vector<float> value)
        {
            Vector<uint> bits = Vector.AsVectorUInt32(value);
            Vector<uint> sign = Vector.ShiftRightLogical(bits, 16) & new Vector<uint>(0x8000);
            Vector<uint> magnitude = bits & new Vector<uint>(0x7FFFFFFF);
            Vector<float> shifted = Vector.AsVectorSingle(magnitude) + Vector.AsVectorSingle(new Vector<uint>(Half));
            Vector<uint> subnormal = Vector.AsVectorUInt32(shifted) - new Vector<uint>(Half);
            Vector<uint> even = Vector.ShiftRightLogical(magnitude, 13) & Vector<uint>.One;
            Vector<uint> normal = Vector.ShiftRightLogical(
                magnitude - new Vector<uint>((127 - 15) << 23) + new Vector<uint>(0xFFF) + even, 13);
            Vector<uint> result = Vector.ConditionalSelect(
                Vector.LessThan(magnitude, new Vector<uint>(SmallestNormal)), subnormal, normal);
            result = Vector.ConditionalSelect(
                Vector.GreaterThanOrEqual(magnitude, new Vector<uint>(Infinite)), new Vector<uint>(0x7C00), result);
            result = Vector.ConditionalSelect(Vector.AsVectorUInt32(Vector.Equals(value, value)), result, new Vector<uint>(0x7E00));
            return result | sign;
        }
    }
}
