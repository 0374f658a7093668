using System.Runtime.Intrinsics;

namespace MambaCuda.Kernels.Tests;

/// <summary>The linear layer with quantized weights, on every backend and in each of its ways.</summary>
public unsafe class QuantizedLinearForwardTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.LinearForward), QuantizedLinearCase.Names);

    public static TheoryData<QuantizedType> Types => [.. Enum.GetValues<QuantizedType>()];

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        LinearInputs inputs = QuantizedLinearCase.Named(name).Operands(backend.ActivationType);
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            DataType? rounded = LinearRunner.RoundedWeights(backend, inputs, gap);
            float[] chosen = LinearRunner.Run(backend, inputs, gap);
            Within.AssertAll(LinearForwardValidation.Compare(inputs, chosen, rounded), $"gap {gap}");
            foreach (LinearVariant variant in LinearRunner.Variants(backend, inputs, gap))
            {
                float[] y = LinearRunner.Run(backend, inputs, gap, variant);
                rounded = LinearRunner.RoundedWeights(backend, inputs, gap, variant);
                Within.AssertAll(LinearForwardValidation.Compare(inputs, y, rounded), $"{variant}, gap {gap}");
                Bits.AssertSame(y, LinearRunner.Run(backend, inputs, gap, variant), $"{variant} again");
            }
        }
    }

    /// <summary>Where inputs are made fixed-point numbers, as elsewhere: what is no number spoils all outputs.</summary>
    [Theory, MemberData(nameof(BackendsAndTypes))]
    public void Infinite_inputs_and_nan_make_nan(string backendName, QuantizedType type)
    {
        using Backend backend = TestBackends.Open(backendName);
        LinearInputs inputs = new QuantizedLinearCase(1, 9, 1024, type, 64).Operands(backend.ActivationType);
        foreach (float spoiling in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
        {
            float[] x = [.. inputs.X];
            x[700] = spoiling;
            const int Gap = GuardedMatrix.AlignedGap;
            foreach (LinearVariant? way in LinearRunner.Variants(backend, inputs, Gap).Select(each => (LinearVariant?)each).Prepend(null))
            {
                float[] y = LinearRunner.Run(backend, inputs with { X = x }, Gap, way);
                Assert.All(y, value => Assert.False(float.IsFinite(value), $"{way}: {value} of {spoiling}"));
            }
        }
    }

    /// <summary>On the CPU sums have the order that they have of float weights.</summary>
    [Fact]
    public void The_cpu_has_the_bits_of_the_same_weight_in_float32()
    {
        using CpuBackend backend = new(threads: 2);
        foreach (QuantizedLinearCase row in QuantizedLinearCase.All)
        {
            LinearInputs inputs = row.Operands(DataType.Float32);
            float[] expected = LinearRunner.Run(backend, inputs with { Quantized = null });
            Bits.AssertSame(expected, LinearRunner.Run(backend, inputs), row.Name);
        }
    }

    /// <summary>Both vector widths, whichever of them the processor's linear layer takes.</summary>
    [Theory, MemberData(nameof(Types))]
    public void Both_widths_have_the_bits_of_the_same_weight_in_float32(QuantizedType type)
    {
        const int Outputs = 7, Inputs = 203;
        foreach (int rows in new[] { 1, 2, 3, 5, 11, 14 })
        {
            LinearInputs inputs = new QuantizedLinearCase(rows, Outputs, Inputs, type, 64) { Bias = true }.Operands(DataType.Float32);
            Bits.AssertSame(RunFloats(inputs, wide: false), RunNumbers(inputs, wide: false), $"256 bits, {rows} rows");
            Bits.AssertSame(RunFloats(inputs, wide: true), RunNumbers(inputs, wide: true), $"512 bits, {rows} rows");
        }
    }

    public static TheoryData<string, QuantizedType> BackendsAndTypes
    {
        get
        {
            TheoryData<string, QuantizedType> data = [];
            foreach (string name in TestBackends.Names)
            {
                data.AddRange([.. Enum.GetValues<QuantizedType>().Select(type => new TheoryDataRow<string, QuantizedType>(name, type))]);
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(BackendsAndTypes))]
    public void A_row_does_not_depend_on_its_batch(string name, QuantizedType type)
    {
        const int Rows = 21, Outputs = 37, Inputs = 328;
        using Backend backend = TestBackends.Open(name, batchInvariant: true);
        LinearInputs inputs = new QuantizedLinearCase(Rows, Outputs, Inputs, type, 64) { Bias = true }.Operands(backend.ActivationType);
        const int Gap = GuardedMatrix.AlignedGap;
        IEnumerable<LinearVariant?> ways = LinearRunner.Variants(backend, inputs, Gap)
            .Where(variant => variant.Algorithm == LinearAlgorithm.Vector).Select(variant => (LinearVariant?)variant).Append(null);
        foreach (LinearVariant? way in ways)
        {
            float[] all = LinearRunner.Run(backend, inputs, Gap, way);
            foreach ((int first, int count) in new[] { (0, 1), (20, 1), (3, 2), (5, 8), (4, 16), (0, 17) })
            {
                float[] part = LinearRunner.Run(backend, inputs.Rows(first, count), Gap, way);
                Bits.AssertSame(all[(first * Outputs)..((first + count) * Outputs)], part, $"{way}: {count} rows from {first} on");
            }
        }
    }

    /// <summary>Each number that there is at each place of two groups, against a one there: the product is the number itself.</summary>
    [Theory, MemberData(nameof(BackendsAndTypes))]
    public void Every_number_is_read_exactly_at_every_place(string name, QuantizedType type)
    {
        const int Inputs = 192, Rows = 64;
        using Backend backend = TestBackends.Open(name);
        int least = type == QuantizedType.Int8 ? -128 : -8, outputs = type == QuantizedType.Int8 ? 256 : 16;
        QuantizedLayout layout = new(type, Inputs, 64);
        int[] numbers = [.. Enumerable.Range(0, outputs * Inputs).Select(i => (i / Inputs) + least)];
        QuantizedWeight weight = new(layout, numbers, [.. Enumerable.Repeat(1f, outputs * layout.Groups)]);
        float[] expected = [.. Enumerable.Range(0, Rows * outputs).Select(i => (float)((i % outputs) + least))];
        for (int first = 0; first < Inputs; first += Rows)
        {
            float[] x = new float[Rows * Inputs];
            for (int row = 0; row < Rows; row++)
            {
                x[(row * Inputs) + first + row] = 1;
            }

            LinearInputs inputs = new()
            {
                X = x,
                Weight = weight.Weights(),
                Quantized = weight,
                RowCount = Rows,
                Outputs = outputs,
                Inputs = Inputs,
                WeightType = DataType.Float32,
                ResultType = DataType.Float32,
            };
            Assert.Equal(expected, LinearRunner.Run(backend, inputs, GuardedMatrix.AlignedGap));
            foreach (LinearVariant variant in LinearRunner.Variants(backend, inputs, GuardedMatrix.AlignedGap))
            {
                Assert.Equal(expected, LinearRunner.Run(backend, inputs, GuardedMatrix.AlignedGap, variant));
            }
        }
    }

    [Theory, MemberData(nameof(BackendsAndTypes))]
    public void What_lies_behind_a_row_of_x_is_not_read(string name, QuantizedType type)
    {
        // Columns of a wider matrix whose others are NaN, as the low-rank delta beside B and C.
        const int Rows = 5, Outputs = 19, Stored = 80, Inputs = 48;
        using Backend backend = TestBackends.Open(name);
        LinearInputs inputs = new QuantizedLinearCase(Rows, Outputs, Inputs, type, 64).Operands(backend.ActivationType);
        float[] wide = [.. inputs.X.Chunk(Inputs).SelectMany(row => row.Concat(Enumerable.Repeat(float.NaN, Stored - Inputs)))];
        using GuardedMatrix x = GuardedMatrix.Input(backend, backend.ActivationType, Rows, Stored, wide, GuardedMatrix.AlignedGap);
        using PlacedLinear placed = new(backend, inputs, GuardedMatrix.AlignedGap);
        backend.LinearForward(placed.Args with { X = x.View.ColumnRange(0, Inputs) });
        Within.AssertAll(LinearForwardValidation.Compare(inputs, placed.Result()));
    }

    [Theory]
    [InlineData("cuda-bfloat16", QuantizedType.Int8), InlineData("cuda-float16", QuantizedType.Int4)]
    public void A_weight_that_is_made_in_parts_gives_the_same(string name, QuantizedType type)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(name, batchInvariant: true);
        LinearInputs inputs = new QuantizedLinearCase(70, 37, 104, type, 64) { Bias = true }.Operands(backend.ActivationType);
        float[] whole = LinearRunner.Run(backend, inputs, GuardedMatrix.AlignedGap);
        backend.DequantizedBytes = 5000;
        List<KernelLaunch> launches = [];
        backend.OnLaunch = launches.Add;
        Bits.AssertSame(whole, LinearRunner.Run(backend, inputs, GuardedMatrix.AlignedGap), "in parts");
        Assert.True(launches.Count(launch => launch.Kernel.Contains("dequantize", StringComparison.Ordinal)) > 1);
    }

    [Theory, MemberData(nameof(BackendsAndTypes))]
    public void No_inputs_give_the_bias_and_no_rows_nothing(string name, QuantizedType type)
    {
        foreach (bool batchInvariant in new[] { false, true })
        {
            using Backend backend = TestBackends.Open(name, batchInvariant);
            LinearInputs inputs = new QuantizedLinearCase(3, 5, 0, type, 64) { Bias = true }.Operands(backend.ActivationType);
            float[] bias = StoredValues.Round(inputs.Bias!, backend.ActivationType);
            Assert.Equal([.. bias, .. bias, .. bias], LinearRunner.Run(backend, inputs));
            LinearInputs none = new QuantizedLinearCase(0, 5, 64, type, 64) { Bias = true }.Operands(backend.ActivationType);
            Assert.Empty(LinearRunner.Run(backend, none));
        }
    }

    [Theory]
    [InlineData("columns", "LinearForward: weight is (8 x 100) Int4 in groups of 32, but must be (8 x 96).")]
    [InlineData("bias", "LinearForward: bias is (1 x 4) Float32, but must be (1 x 8).")]
    [InlineData("values", "QuantizedView: values is (8 x 60) UInt8, but must be (8 x 64).")]
    [InlineData("values type", "QuantizedView: values is (8 x 64) Int8, but must be UInt8.")]
    [InlineData("scales", "QuantizedView: scales is (8 x 3) BFloat16, but must be (8 x 4).")]
    [InlineData("scales type", "QuantizedView: scales is (8 x 4) Float32, but must be BFloat16.")]
    [InlineData("no scales", "QuantizedView: scales is missing.")]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        QuantizedLayout layout = new(QuantizedType.Int4, 100, 32);
        MatrixView values = arena.New(DataType.UInt8, 8, 64), scales = arena.New(DataType.BFloat16, 8, 4);
        LinearForwardArgs right = new() { X = arena.Float32(6, 100), Weight = new QuantizedView(values, scales, layout), Y = arena.Float32(6, 8) };
        backend.LinearForward(right);
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.LinearForward(wrong switch
        {
            "columns" => right with { X = arena.Float32(6, 96) },
            "bias" => right with { Bias = arena.Float32(1, 4) },
            "values" => right with { Weight = new QuantizedView(arena.New(DataType.UInt8, 8, 60), scales, layout) },
            "values type" => right with { Weight = new QuantizedView(arena.New(DataType.Int8, 8, 64), scales, layout) },
            "scales" => right with { Weight = new QuantizedView(values, arena.New(DataType.BFloat16, 8, 3), layout) },
            "scales type" => right with { Weight = new QuantizedView(values, arena.Float32(8, 4), layout) },
            _ => right with { Weight = new QuantizedView(values, default, layout) },
        }));
        Assert.Equal(expected, exception.Message);
    }

    [Fact]
    public void Rows_that_kernels_cannot_read_are_refused()
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open("cuda-float32");
        using OperandArena arena = new(backend);
        QuantizedLayout layout = new(QuantizedType.Int8, 64, 64);
        MatrixView values = arena.New(DataType.Int8, 4, 72).ColumnRange(0, 64), scales = arena.New(DataType.BFloat16, 4, 1);
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.LinearForward(new LinearForwardArgs
        {
            X = arena.Float32(1, 64),
            Weight = new QuantizedView(values, scales, layout),
            Y = arena.Float32(1, 4),
        }));
        Assert.Contains("multiples of 16 bytes", exception.Message, StringComparison.Ordinal);
    }

    private static float[] RunFloats(LinearInputs inputs, bool wide)
    {
        float[] y = new float[inputs.RowCount * inputs.Outputs];
        fixed (float* xs = inputs.X, ws = inputs.Weight, biases = inputs.Bias, ys = y)
        {
            if (wide)
            {
                DotProducts<Width512, Vector512<float>, StoredFloat32>.Run(
                    xs, inputs.Inputs, inputs.RowCount, (byte*)ws, 4L * inputs.Inputs, inputs.Outputs, inputs.Inputs, biases, ys, inputs.Outputs);
            }
            else
            {
                DotProducts<Width256, Vector256<float>, StoredFloat32>.Run(
                    xs, inputs.Inputs, inputs.RowCount, (byte*)ws, 4L * inputs.Inputs, inputs.Outputs, inputs.Inputs, biases, ys, inputs.Outputs);
            }
        }

        return y;
    }

    private static float[] RunNumbers(LinearInputs inputs, bool wide) => inputs.Quantized!.Layout.Type == QuantizedType.Int8
        ? RunNumbers<Int8Numbers>(inputs, wide)
        : RunNumbers<Int4Numbers>(inputs, wide);

    private static float[] RunNumbers<TNumbers>(LinearInputs inputs, bool wide) where TNumbers : struct, IQuantizedNumbers
    {
        QuantizedWeight weight = inputs.Quantized!;
        float[] y = new float[inputs.RowCount * inputs.Outputs];
        ushort[] scales = [.. weight.Scales.Select(scale => (ushort)(BitConverter.SingleToUInt32Bits(scale) >> 16))];
        fixed (float* xs = inputs.X, biases = inputs.Bias, ys = y)
        fixed (byte* values = weight.Bytes())
        fixed (ushort* scale = scales)
        {
            QuantizedRows rows = new(values, weight.Layout.RowBytes, scale, weight.Layout.Groups, weight.Layout);
            if (wide)
            {
                QuantizedDotProducts<Width512, Vector512<float>, TNumbers>.Run(
                    xs, inputs.Inputs, inputs.RowCount, rows, inputs.Outputs, inputs.Inputs, biases, ys, inputs.Outputs);
            }
            else
            {
                QuantizedDotProducts<Width256, Vector256<float>, TNumbers>.Run(
                    xs, inputs.Inputs, inputs.RowCount, rows, inputs.Outputs, inputs.Inputs, biases, ys, inputs.Outputs);
            }
        }

        return y;
    }
}
