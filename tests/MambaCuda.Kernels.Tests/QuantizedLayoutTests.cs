namespace MambaCuda.Kernels.Tests;

/// <summary>Quantized rows on the host: how they are stored, which scales are chosen, and what rounding costs.</summary>
public class QuantizedLayoutTests
{
    public static TheoryData<QuantizedType, int, int> Layouts
    {
        get
        {
            TheoryData<QuantizedType, int, int> data = [];
            foreach (QuantizedType type in Enum.GetValues<QuantizedType>())
            {
                foreach (int groupSize in QuantizedLayout.GroupSizesOf(type))
                {
                    int[] counts = [1, 7, 64, 129, 400];
                    data.AddRange([.. counts.Select(columns => new TheoryDataRow<QuantizedType, int, int>(type, columns, groupSize))]);
                }
            }

            return data;
        }
    }

    [Theory]
    [InlineData(QuantizedType.Int8, 1, 64, 64, 1), InlineData(QuantizedType.Int8, 64, 64, 64, 1), InlineData(QuantizedType.Int8, 65, 64, 128, 2)]
    [InlineData(QuantizedType.Int8, 300, 128, 320, 3), InlineData(QuantizedType.Int4, 1, 32, 64, 1), InlineData(QuantizedType.Int4, 128, 32, 64, 4)]
    [InlineData(QuantizedType.Int4, 129, 128, 128, 2), InlineData(QuantizedType.Int4, 0, 32, 0, 0)]
    public void Rows_are_whole_64_bytes(QuantizedType type, int columns, int groupSize, int rowBytes, int groups)
    {
        QuantizedLayout layout = new(type, columns, groupSize);
        Assert.Equal((rowBytes, groups), (layout.RowBytes, layout.Groups));
    }

    [Theory]
    [InlineData(QuantizedType.Int8, 32), InlineData(QuantizedType.Int4, 16), InlineData(QuantizedType.Int4, 96), InlineData(QuantizedType.Int8, 0)]
    public void Other_group_sizes_are_refused(QuantizedType type, int groupSize)
    {
        ArgumentOutOfRangeException exception = Assert.Throws<ArgumentOutOfRangeException>(() => new QuantizedLayout(type, 100, groupSize));
        Assert.Contains(string.Join(", ", QuantizedLayout.GroupSizesOf(type)), exception.Message, StringComparison.Ordinal);
    }

    /// <summary>Against an encoding that is written down number by number, from the description.</summary>
    [Theory, MemberData(nameof(Layouts))]
    public void Numbers_lie_where_the_description_says(QuantizedType type, int columns, int groupSize)
    {
        QuantizedLayout layout = new(type, columns, groupSize);
        QuantizedWeight weight = QuantizedWeight.Random(new RandomValues($"{layout}"), 1, layout);
        ushort[] scales = [.. weight.Scales.Select(scale => (ushort)(BitConverter.SingleToUInt32Bits(scale) >> 16))];
        float[] weights = weight.Weights(), read = new float[columns];
        layout.Dequantize(weight.Bytes(), scales, read);
        Assert.Equal(weights, read);
        byte[] bytes = new byte[layout.RowBytes];
        layout.Quantize(weights, scales, bytes);
        Assert.Equal(weight.Bytes(), bytes);
    }

    [Theory, MemberData(nameof(Layouts))]
    public void Rounding_costs_half_a_step_and_cutting_off_only_where_that_costs_less(QuantizedType type, int columns, int groupSize)
    {
        QuantizedLayout layout = new(type, columns, groupSize);
        float[] row = new RandomValues($"row {layout}").Normal(columns, 0.01f, 0.3f);
        (float[] read, float[] scales) = RoundTrip(layout, row);
        for (int group = 0; group < layout.Groups; group++)
        {
            float[] weights = row[(group * groupSize)..Math.Min(columns, (group + 1) * groupSize)];
            float[] errors = [.. weights.Select((weight, i) => MathF.Abs(read[(group * groupSize) + i] - weight))];
            float greatest = weights.Max(MathF.Abs), scale = MathF.Abs(scales[group]);
            if (type == QuantizedType.Int8)
            {
                Assert.True(127 * scale >= greatest && scale <= greatest / 127 * 1.008f, $"{scale} is no scale of {greatest}.");
                Assert.All(errors, error => Assert.True(error <= 0.5001f * scale, $"{error} is more than half of {scale}."));
            }
            else
            {
                // The obvious choice, nothing cut off: the errors that it would have.
                float plain = StoredValues.Round([greatest / 7], DataType.BFloat16)[0];
                double obvious = weights.Sum(weight => Math.Pow((Math.Clamp(MathF.Round(weight / plain), -7, 7) * plain) - weight, 2));
                double squares = errors.Sum(error => (double)error * error);
                Assert.True(squares <= obvious * 1.0001, $"{squares} is more than {obvious}.");
            }
        }
    }

    [Fact]
    public void Scales_that_are_searched_have_less_error()
    {
        QuantizedLayout layout = new(QuantizedType.Int4, 32_000, 32);
        float[] row = new RandomValues("search").Normal(32_000);
        double squares = RoundTrip(layout, row).Read.Zip(row, (read, weight) => Math.Pow(read - weight, 2)).Sum();
        double obvious = row.Chunk(32).Sum(group =>
        {
            float scale = group.Max(MathF.Abs) / 7;
            return group.Sum(weight => Math.Pow((MathF.Round(weight / scale) * scale) - weight, 2));
        });
        Assert.True(squares <= 0.8 * obvious, $"{squares} beside {obvious}.");
    }

    [Theory, InlineData(QuantizedType.Int8, 64), InlineData(QuantizedType.Int4, 32)]
    public void Zeros_tiny_and_huge_numbers_stay_what_they_are(QuantizedType type, int groupSize)
    {
        QuantizedLayout layout = new(type, 4 * groupSize, groupSize);
        float[] row = new float[4 * groupSize];
        row[groupSize] = 1e-38f;
        row[2 * groupSize] = -2e38f;
        row[3 * groupSize] = 3;
        (float[] read, _) = RoundTrip(layout, row);
        Assert.All(read[..(2 * groupSize)], value => Assert.Equal(0, value));
        Assert.InRange(read[2 * groupSize], -2.02e38f, -1.98e38f);
        Assert.InRange(read[3 * groupSize], 2.98f, 3.02f);
        Assert.Equal(2, read.Count(value => value != 0));
    }

    [Theory, InlineData(float.NaN), InlineData(float.PositiveInfinity), InlineData(float.NegativeInfinity)]
    public void What_is_not_finite_has_no_scale(float value)
    {
        foreach (QuantizedType type in Enum.GetValues<QuantizedType>())
        {
            QuantizedLayout layout = new(type, 70, 64);
            float[] row = new float[70];
            Assert.True(layout.FindScales(row, new ushort[2]));
            row[69] = value;
            Assert.False(layout.FindScales(row, new ushort[2]));
        }
    }

    private static (float[] Read, float[] Scales) RoundTrip(QuantizedLayout layout, float[] row)
    {
        ushort[] scales = new ushort[layout.Groups];
        byte[] bytes = new byte[layout.RowBytes];
        float[] read = new float[row.Length];
        Assert.True(layout.FindScales(row, scales));
        layout.Quantize(row, scales, bytes);
        layout.Dequantize(bytes, scales, read);
        return (read, [.. scales.Select(bits => BitConverter.UInt32BitsToSingle((uint)bits << 16))]);
    }
}
