using System.Runtime.Intrinsics;

namespace MambaCuda.Kernels.Tests;

/// <summary>The dot products in both vector widths, whichever of them the processor's linear layer takes.</summary>
public unsafe class DotProductsTests
{
    private static readonly int[] RowCounts = [1, 2, 3, 4, 5, 6, 7, 12, 13];
    private static readonly int[] OutputCounts = [1, 3, 4, 5, 17];
    private static readonly int[] InputCounts = [1, 7, 8, 15, 16, 17, 33, 100, 1000];

    public static TheoryData<bool, DataType, int, int, int> Cases
    {
        get
        {
            TheoryData<bool, DataType, int, int, int> data = [];
            foreach (int[] row in AllPairs.Rows(RowCounts.Length, OutputCounts.Length, InputCounts.Length, 3, 2))
            {
                data.Add(row[4] == 1, (DataType)row[3], RowCounts[row[0]], OutputCounts[row[1]], InputCounts[row[2]]);
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Are_as_close_to_float64_as_a_plain_evaluation(bool wide, DataType type, int rows, int outputs, int inputs)
    {
        RandomValues random = new($"{wide} {type} {rows} {outputs} {inputs}");
        float[] x = random.Normal(rows * inputs), bias = random.Normal(outputs);
        float[] weight = StoredValues.Round(random.Normal(outputs * inputs), type);
        float[] y = Run(wide, type, x, StoredValues.Encode(weight, type), bias, rows, outputs, inputs);
        LinearInputs operands = new()
        {
            X = x,
            Weight = weight,
            Bias = bias,
            RowCount = rows,
            Outputs = outputs,
            Inputs = inputs,
            WeightType = type,
            ResultType = DataType.Float32,
        };
        Within.AssertAll(LinearForwardValidation.Compare(operands, y));
    }

    [Theory]
    [InlineData(false, DataType.Float16), InlineData(true, DataType.Float16)]
    [InlineData(false, DataType.BFloat16), InlineData(true, DataType.BFloat16)]
    public void Every_stored_number_is_read_exactly(bool wide, DataType type)
    {
        // Every 16-bit pattern (zeros, subnormals, infinities, NaN) once in each lane, against a one in that lane: the sum is the number
        // itself.
        const int Inputs = 19, Patterns = 1 << 16;
        for (int lane = 0; lane < Inputs; lane++)
        {
            byte[] weight = new byte[Patterns * Inputs * 2];
            for (int pattern = 0; pattern < Patterns; pattern++)
            {
                BitConverter.TryWriteBytes(weight.AsSpan(((pattern * Inputs) + lane) * 2), (ushort)pattern);
            }

            float[] x = new float[Inputs];
            x[lane] = 1;
            float[] y = Run(wide, type, x, weight, null, 1, Patterns, Inputs);
            byte[] all = new byte[Patterns * 2];
            for (int pattern = 0; pattern < Patterns; pattern++)
            {
                BitConverter.TryWriteBytes(all.AsSpan(pattern * 2), (ushort)pattern);
            }

            float[] expected = StoredValues.Decode(all, type);
            for (int pattern = 0; pattern < Patterns; pattern++)
            {
                bool same = y[pattern].Equals(expected[pattern]) || y[pattern] == expected[pattern];
                Assert.True(same, $"0x{pattern:X4} in lane {lane} is {y[pattern]}.");
            }
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_row_does_not_depend_on_its_batch(bool wide)
    {
        const int Rows = 20, Outputs = 9, Inputs = 75;
        RandomValues random = new("batch");
        float[] x = random.Normal(Rows * Inputs);
        byte[] weight = StoredValues.Encode(random.Normal(Outputs * Inputs), DataType.BFloat16);
        float[] all = Run(wide, DataType.BFloat16, x, weight, null, Rows, Outputs, Inputs);
        for (int batch = 1; batch <= 7; batch++)
        {
            for (int first = 0; first + batch <= Rows; first++)
            {
                float[] rows = x[(first * Inputs)..((first + batch) * Inputs)];
                float[] part = Run(wide, DataType.BFloat16, rows, weight, null, batch, Outputs, Inputs);
                Bits.AssertSame(all[(first * Outputs)..((first + batch) * Outputs)], part, $"{batch} rows from {first} on");
            }
        }
    }

    private static float[] Run(bool wide, DataType type, float[] x, byte[] weight, float[]? bias, int rows, int outputs, int inputs)
    {
        float[] y = new float[rows * outputs];
        fixed (float* xs = x, ys = y, biases = bias)
        fixed (byte* weights = weight)
        {
            switch (type)
            {
                case DataType.Float32:
                    Run<StoredFloat32>(wide, xs, weights, biases, ys, rows, outputs, inputs);
                    break;
                case DataType.BFloat16:
                    Run<StoredBFloat16>(wide, xs, weights, biases, ys, rows, outputs, inputs);
                    break;
                default:
                    Run<StoredFloat16>(wide, xs, weights, biases, ys, rows, outputs, inputs);
                    break;
            }
        }

        return y;
    }

    private static void Run<TStored>(bool wide, float* x, byte* weight, float* bias, float* y, int rows, int outputs, int inputs)
        where TStored : struct, IStoredFloat
    {
        int weightStride = inputs * TStored.Size;
        if (wide)
        {
            DotProducts<Width512, Vector512<float>, TStored>.Run(x, inputs, rows, weight, weightStride, outputs, inputs, bias, y, outputs);
        }
        else
        {
            DotProducts<Width256, Vector256<float>, TStored>.Run(x, inputs, rows, weight, weightStride, outputs, inputs, bias, y, outputs);
        }
    }
}
