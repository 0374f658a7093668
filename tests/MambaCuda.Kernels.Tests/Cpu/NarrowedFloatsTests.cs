using System.Runtime.InteropServices;

namespace MambaCuda.Kernels.Tests;

/// <summary>Rounding to 16 bits, vector by vector, against numbers converted one by one.</summary>
public unsafe class NarrowedFloatsTests
{
    [Theory, InlineData(DataType.BFloat16), InlineData(DataType.Float16), InlineData(DataType.Float32)]
    public void Rounds_as_one_by_one(DataType type)
    {
        // Every upper half, with lower halves around each tie of both types.
        uint[] lows = [0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0xFFFF];
        float[] values =
        [
            .. from high in Enumerable.Range(0, 1 << 16)
               from low in lows
               select BitConverter.UInt32BitsToSingle(((uint)high << 16) | low),
        ];
        AssertSame(values, type);
    }

    [Theory, InlineData(DataType.BFloat16), InlineData(DataType.Float16), InlineData(DataType.Float32)]
    public void Writes_as_many_as_asked(DataType type)
    {
        float[] values = new RandomValues("lengths").Normal(70);
        for (int count = 0; count <= values.Length; count++)
        {
            AssertSame(values[..count], type);
        }
    }

    private static void AssertSame(float[] values, DataType type)
    {
        byte[] expected = StoredValues.Encode(values, type);
        byte[] actual = new byte[expected.Length + 1];
        actual[^1] = 0xA5;
        fixed (float* source = values)
        {
            fixed (byte* destination = actual)
            {
                NarrowedFloats.Store(source, type, destination, values.Length);
            }
        }

        Assert.Equal(0xA5, actual[^1]);
        if (type == DataType.Float32)
        {
            Assert.True(expected.AsSpan().SequenceEqual(actual.AsSpan(0, expected.Length)));
            return;
        }

        ReadOnlySpan<ushort> wanted = MemoryMarshal.Cast<byte, ushort>(expected), given = MemoryMarshal.Cast<byte, ushort>(actual);
        float[] decoded = StoredValues.Decode(actual.AsSpan(0, expected.Length), type);
        for (int i = 0; i < values.Length; i++)
        {
            // Of NaN only that it is one.
            Assert.True(
                float.IsNaN(values[i]) ? float.IsNaN(decoded[i]) : wanted[i] == given[i],
                $"{values[i]:R} became {given[i]:X4} instead of {wanted[i]:X4}.");
        }
    }
}
