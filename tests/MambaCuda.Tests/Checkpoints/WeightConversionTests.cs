using System.Runtime.InteropServices;
using MambaCuda.Kernels;

namespace MambaCuda.Tests;

/// <summary>Rounding between weight types: every 16-bit value, and float32 values around every boundary.</summary>
public class WeightConversionTests
{
    [Theory]
    [InlineData(DataType.BFloat16)]
    [InlineData(DataType.Float16)]
    public void Every_16_bit_value_survives_widening_and_narrowing(DataType type)
    {
        ushort[] all = [.. Enumerable.Range(0, 1 << 16).Select(bits => (ushort)bits)];
        float[] wide = Convert<ushort, float>(all, type, DataType.Float32);
        ushort[] back = Convert<float, ushort>(wide, DataType.Float32, type);
        Assert.All(Enumerable.Range(0, all.Length), i =>
        {
            float value = type == DataType.BFloat16
                ? BitConverter.UInt32BitsToSingle((uint)all[i] << 16)
                : (float)BitConverter.UInt16BitsToHalf(all[i]);
            Assert.Equal(value, wide[i]);
            Assert.True(float.IsNaN(value) ? IsNaN(back[i], type) : back[i] == all[i], $"{all[i]:x4} became {back[i]:x4}");
        });
    }

    [Theory]
    [InlineData(0x3f800000u, 0x3f80)] // 1
    [InlineData(0x3f808000u, 0x3f80)] // halfway, to the even one below
    [InlineData(0x3f818000u, 0x3f82)] // halfway, to the even one above
    [InlineData(0x3f808001u, 0x3f81)] // just above halfway
    [InlineData(0x3f807fffu, 0x3f80)] // just below halfway
    [InlineData(0x80000000u, 0x8000)] // -0
    [InlineData(0x00008000u, 0x0000)] // half the least subnormal
    [InlineData(0x00008001u, 0x0001)] // just above
    [InlineData(0x007fffffu, 0x0080)] // subnormal into normal
    [InlineData(0x7f800000u, 0x7f80)] // infinity
    [InlineData(0xff800000u, 0xff80)]
    [InlineData(0x7f7f0000u, 0x7f7f)] // the greatest
    public void Narrowing_to_bfloat16_rounds_to_the_nearest_even(uint bits, int expected) =>
        Assert.Equal(expected, Convert<uint, ushort>([bits], DataType.Float32, DataType.BFloat16)[0]);

    [Theory]
    [InlineData(1 + (1 / 2048f), 0x3c00)]
    [InlineData(1 + (3 / 2048f), 0x3c02)]
    [InlineData(65504f, 0x7bff)]
    [InlineData(65519f, 0x7bff)]
    [InlineData(5.9604645e-8f, 0x0001)]
    [InlineData(2.9802322e-8f, 0x0000)]
    [InlineData(-1e-20f, 0x8000)]
    [InlineData(float.NegativeInfinity, 0xfc00)]
    public void Narrowing_to_float16_rounds_to_the_nearest_even(float value, int expected) =>
        Assert.Equal(expected, Convert<float, ushort>([value], DataType.Float32, DataType.Float16)[0]);

    [Theory]
    [InlineData(0x7f800001u)]
    [InlineData(0xffc00000u)]
    [InlineData(0x7fffffffu)]
    public void NaN_stays_NaN(uint bits)
    {
        Assert.True(IsNaN(Convert<uint, ushort>([bits], DataType.Float32, DataType.BFloat16)[0], DataType.BFloat16));
        Assert.True(IsNaN(Convert<uint, ushort>([bits], DataType.Float32, DataType.Float16)[0], DataType.Float16));
    }

    [Fact]
    public void A_finite_number_that_would_become_infinite_is_reported()
    {
        Assert.Equal(2, Lost([1, float.PositiveInfinity, 65520], DataType.Float16));
        Assert.Equal(1, Lost([1, -float.MaxValue], DataType.BFloat16));
        Assert.Equal(-1, Lost([float.NaN, float.NegativeInfinity, 0], DataType.Float16));
    }

    [Fact]
    public void The_16_bit_types_convert_into_each_other()
    {
        Assert.Equal<ushort>([0x3c00, 0xc000], Convert<ushort, ushort>([0x3f80, 0xc000], DataType.BFloat16, DataType.Float16));
        Assert.Equal<ushort>([0x3f80, 0x3380], Convert<ushort, ushort>([0x3c00, 0x0001], DataType.Float16, DataType.BFloat16));
    }

    private static bool IsNaN(ushort bits, DataType type) =>
        type == DataType.BFloat16 ? (bits & 0x7fff) > 0x7f80 : Half.IsNaN(BitConverter.UInt16BitsToHalf(bits));

    private static TTo[] Convert<TFrom, TTo>(TFrom[] values, DataType from, DataType to) where TFrom : unmanaged where TTo : unmanaged
    {
        TTo[] results = new TTo[values.Length];
        int lost = WeightConversion.Convert(
            MemoryMarshal.AsBytes(values.AsSpan()), from, MemoryMarshal.AsBytes(results.AsSpan()), to, new float[values.Length]);
        Assert.Equal(-1, lost);
        return results;
    }

    private static int Lost(float[] values, DataType to) => WeightConversion.Convert(
        MemoryMarshal.AsBytes(values.AsSpan()), DataType.Float32, new byte[values.Length * 2], to, new float[values.Length]);
}
