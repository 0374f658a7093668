namespace MambaCuda.Kernels.Tests;

/// <summary>The linear layer for every weight type, over sizes that no vector or tile divides, on every backend.</summary>
public class LinearForwardTests
{
    private static readonly int[] Sizes = [1, 2, 3, 5, 7, 15, 17, 33, 100];
    private static readonly DataType[] WeightTypes = [DataType.Float32, DataType.BFloat16, DataType.Float16];

    public static TheoryData<string, int, int, int, DataType, bool> Cases
    {
        get
        {
            TheoryData<string, int, int, int, DataType, bool> data = [];
            foreach (string backend in TestBackends.NamesWith(nameof(Backend.LinearForward)))
            {
                foreach (int[] row in AllPairs.Rows(Sizes.Length, Sizes.Length, Sizes.Length, WeightTypes.Length, 2))
                {
                    data.Add(backend, Sizes[row[0]], Sizes[row[1]], Sizes[row[2]], WeightTypes[row[3]], row[4] == 1);
                }

                // Several blocks of outputs and of rows.
                data.Add(backend, 61, 2050, 257, DataType.BFloat16, true);
                data.Add(backend, 300, 130, 770, DataType.Float16, false);
                data.Add(backend, 1, 3001, 768, DataType.Float32, true);
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(
        string backendName, int rows, int outputs, int inputs, DataType type, bool withBias)
    {
        using Backend backend = TestBackends.Open(backendName);
        Operands operands = new(backend, rows, outputs, inputs, type, withBias);
        float[] actual = Run(backend, operands);
        AssertClose(backend, operands, actual, rows);
        float[] withoutGaps = Run(backend, operands, gap: 0), aligned = Run(backend, operands, GuardedMatrix.AlignedGap);
        if (backend.Name == "cpu")
        {
            Bits.AssertSame(actual, withoutGaps, "without gaps");
            Bits.AssertSame(actual, aligned, "aligned");
            return;
        }

        // Where rows lie decides between kernels that add in other orders.
        AssertClose(backend, operands, withoutGaps, rows);
        AssertClose(backend, operands, aligned, rows);
    }

    private static void AssertClose(Backend backend, Operands operands, float[] actual, int rows)
    {
        double quotient = operands.Bound(backend.ActivationType).WorstQuotient(actual, [rows]);
        Assert.True(quotient <= 1, $"y is off by {quotient:F2} times the bound.");
    }

    public static TheoryData<string, DataType> BackendsAndTypes
    {
        get
        {
            TheoryData<string, DataType> data = [];
            foreach (string backend in TestBackends.NamesWith(nameof(Backend.LinearForward)))
            {
                data.AddRange([.. WeightTypes.Select(type => new TheoryDataRow<string, DataType>(backend, type))]);
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(BackendsAndTypes))]
    public void A_row_does_not_depend_on_its_batch(string name, DataType type)
    {
        const int Rows = 23, Outputs = 45, Inputs = 109;
        using Backend backend = TestBackends.Open(name, batchInvariant: true);
        Operands operands = new(backend, Rows, Outputs, Inputs, type, withBias: true);
        float[] all = Run(backend, operands);
        for (int batch = 1; batch < Rows; batch++)
        {
            for (int first = 0; first + batch <= Rows; first += batch)
            {
                float[] part = Run(backend, operands.Rows(first, batch));
                Bits.AssertSame(all[(first * Outputs)..((first + batch) * Outputs)], part, $"rows {first} to {first + batch}");
            }
        }
    }

    /// <summary>
    /// Backends on CUDA with sizes whose last tile, in every direction, is a part of one of every kind; few rows for the kernels that are
    /// for those, and inputs for which splits have unequal parts. With the aligned gap, rows are aligned.
    /// </summary>
    public static TheoryData<string, int, int, int, int> VariantCases
    {
        get
        {
            TheoryData<string, int, int, int, int> data = [];
            foreach (string backend in TestBackends.NamesWith(nameof(Backend.LinearForward)).Where(name => name != "cpu"))
            {
                foreach ((int gap, int more) in new[] { (GuardedMatrix.UsualGap, 0), (GuardedMatrix.AlignedGap, 3) })
                {
                    data.Add(backend, 1, 21, 301 + more, gap);
                    data.Add(backend, 7, 21, 301 + more, gap);
                    data.Add(backend, 13, 37, 77 + more, gap);
                    data.Add(backend, 135, 265, 205 + more, gap);
                }
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(VariantCases))]
    public void Every_variant_is_as_close_to_float64_as_a_plain_evaluation(string name, int rows, int outputs, int inputs, int gap)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(name);
        Operands operands = new(backend, rows, outputs, inputs, backend.ActivationType, withBias: rows % 2 == 1);
        PlainBound bound = operands.Bound(backend.ActivationType);
        Dictionary<LinearVariant, float[]> results = [];
        foreach (LinearVariant variant in Variants(backend, operands, gap))
        {
            float[] y = Run(backend, operands, gap, variant);
            double quotient = bound.WorstQuotient(y, [rows]);
            Assert.True(quotient <= 1, $"y of {variant} is off by {quotient:F2} times the bound.");
            Bits.AssertSame(y, Run(backend, operands, gap, variant), $"{variant} again");
            results.Add(variant, y);
        }

        Assert.True(results.Count >= 3, $"{results.Count} variants are few.");
        foreach (LinearAlgorithm algorithm in new[] { LinearAlgorithm.TensorCore, LinearAlgorithm.Simt })
        {
            // That a row does not depend on its batch rests on this: the number of rows decides between tiles.
            float[][] same =
                [.. results.Where(result => result.Key.Algorithm == algorithm && result.Key.Splits == 1).Select(result => result.Value)];
            Assert.All(same, y => Bits.AssertSame(same[0], y, $"tiles of {algorithm}"));
        }
    }

    public static TheoryData<string, int> CutCases
    {
        get
        {
            TheoryData<string, int> data = [];
            foreach (string backend in TestBackends.NamesWith(nameof(Backend.LinearForward)).Where(name => name != "cpu"))
            {
                data.Add(backend, 5);
                data.Add(backend, 70);
            }

            return data;
        }
    }

    /// <summary>
    /// Aligned rows that end inside 16 bytes, the rest of which is NaN: a part of a piece is read, and nothing of what follows.
    /// </summary>
    [Theory, MemberData(nameof(CutCases))]
    public void Aligned_rows_may_end_inside_a_vector(string name, int rows)
    {
        const int Outputs = 67, Stored = 208, Inputs = 203;
        using CudaBackend backend = (CudaBackend)TestBackends.Open(name);
        Operands inside = new(backend, rows, Outputs, Inputs, backend.ActivationType, withBias: true);
        Operands stored = inside with { X = Widened(inside.X), Weight = Widened(inside.Weight), Inputs = Stored };
        PlainBound bound = inside.Bound(backend.ActivationType);
        using Placed listed = new(backend, stored, GuardedMatrix.AlignedGap);
        foreach (LinearVariant variant in backend.LinearVariants(Cut(listed.Args)))
        {
            using Placed placed = new(backend, stored, GuardedMatrix.AlignedGap);
            backend.LinearForward(Cut(placed.Args), variant);
            double quotient = bound.WorstQuotient(placed.Result(), [rows]);
            Assert.True(quotient <= 1, $"y of {variant} is off by {quotient:F2} times the bound.");
        }

        static float[] Widened(float[] rows) =>
            [.. rows.Chunk(Inputs).SelectMany(row => row.Concat(Enumerable.Repeat(float.NaN, Stored - Inputs)))];

        static LinearForwardArgs Cut(in LinearForwardArgs args) =>
            args with { X = args.X.ColumnRange(0, Inputs), Weight = args.Weight.ColumnRange(0, Inputs) };
    }

    [Theory, MemberData(nameof(VariantCases))]
    public void A_row_of_a_variant_for_few_rows_does_not_depend_on_its_batch(string name, int rows, int outputs, int inputs, int gap)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(name);
        Operands operands = new(backend, rows, outputs, inputs, backend.ActivationType, withBias: true);
        foreach (LinearVariant variant in Variants(backend, operands, gap).Where(each => each.Algorithm == LinearAlgorithm.Vector))
        {
            float[] all = Run(backend, operands, gap, variant);
            for (int row = 0; row < rows; row += 3)
            {
                float[] alone = Run(backend, operands.Rows(row, 1), gap, variant);
                Bits.AssertSame(all[(row * outputs)..((row + 1) * outputs)], alone, $"{variant}, row {row}");
            }
        }
    }

    [Theory]
    [InlineData(1, 3000, 768), InlineData(5, 700, 100), InlineData(200, 300, 33)]
    public void Does_not_depend_on_the_number_of_threads(int rows, int outputs, int inputs)
    {
        using CpuBackend single = new(threads: 1);
        Operands operands = new(single, rows, outputs, inputs, DataType.BFloat16, withBias: true);
        float[] expected = Run(single, operands);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame(expected, Run(several, operands), $"{threads} threads");
        }
    }

    [Fact]
    public void No_rows_are_no_work()
    {
        using CpuBackend backend = new(threads: 2);
        using DeviceBuffer buffer = backend.Allocate(1024);
        backend.LinearForward(new LinearForwardArgs
        {
            X = buffer.Matrix(DataType.Float32, 0, 4),
            Weight = buffer.Matrix(DataType.Float32, 8, 4),
            Y = buffer.Matrix(DataType.Float32, 0, 8),
        });
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        LinearForwardArgs right = new()
        {
            X = arena.Float32(6, 4),
            Weight = arena.New(DataType.BFloat16, 8, 4),
            Bias = arena.Float32(1, 8),
            Y = arena.Float32(6, 8),
        };
        backend.LinearForward(right);
        LinearForwardArgs args = wrong switch
        {
            "no x" => right with { X = default },
            "no weight" => right with { Weight = default },
            "no y" => right with { Y = default },
            "x columns" => right with { X = arena.Float32(6, 5) },
            "x type" => right with { X = arena.New(DataType.BFloat16, 6, 4) },
            "weight type" => right with { Weight = arena.New(DataType.Int32, 8, 4) },
            "bias columns" => right with { Bias = arena.Float32(1, 4) },
            "bias type" => right with { Bias = arena.New(DataType.BFloat16, 1, 8) },
            "y rows" => right with { Y = arena.Float32(5, 8) },
            "y columns" => right with { Y = arena.Float32(6, 7) },
            _ => right with { Y = arena.New(DataType.Float16, 6, 8) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.LinearForward(args));
        Assert.Equal("LinearForward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no x", "x is missing." },
        { "no weight", "weight is missing." },
        { "no y", "y is missing." },
        { "x columns", "weight is (8 x 4) BFloat16, but must be (8 x 5)." },
        { "x type", "x is (6 x 4) BFloat16, but must be Float32." },
        { "weight type", "weight is (8 x 4) Int32, but weights are Float32, BFloat16 or Float16." },
        { "bias columns", "bias is (1 x 4) Float32, but must be (1 x 8)." },
        { "bias type", "bias is (1 x 8) BFloat16, but must be Float32." },
        { "y rows", "y is (5 x 8) Float32, but must be (6 x 8)." },
        { "y columns", "y is (6 x 7) Float32, but must be (6 x 8)." },
        { "y type", "y is (6 x 8) Float16, but must be Float32." },
    };

    private static float[] Run(
        Backend backend, Operands operands, int gap = GuardedMatrix.UsualGap, LinearVariant? variant = null)
    {
        using Placed placed = new(backend, operands, gap);
        if (variant is { } chosen)
        {
            ((CudaBackend)backend).LinearForward(placed.Args, chosen);
        }
        else
        {
            backend.LinearForward(placed.Args);
        }

        return placed.Result();
    }

    private static IReadOnlyList<LinearVariant> Variants(CudaBackend backend, Operands operands, int gap)
    {
        using Placed placed = new(backend, operands, gap);
        return backend.LinearVariants(placed.Args);
    }

    /// <summary>Operands on a backend, between guard words.</summary>
    private sealed class Placed : IDisposable
    {
        private readonly GuardedMatrix _x;
        private readonly GuardedMatrix _weight;
        private readonly GuardedMatrix? _bias;
        private readonly GuardedMatrix _y;

        public Placed(Backend backend, Operands operands, int gap)
        {
            (float[] x, float[] weight, float[]? bias, int rows, int outputs, int inputs, DataType type) = operands;
            _x = GuardedMatrix.Input(backend, backend.ActivationType, rows, inputs, x, gap);
            _weight = GuardedMatrix.Input(backend, type, outputs, inputs, weight, gap);
            _bias = bias is null ? null : GuardedMatrix.Input(backend, DataType.Float32, 1, outputs, bias, gap);
            _y = GuardedMatrix.Output(backend, backend.ActivationType, rows, outputs, gap: gap);
        }

        public LinearForwardArgs Args => new() { X = _x.View, Weight = _weight.View, Bias = _bias?.View ?? default, Y = _y.View };

        /// <summary>The result; fails where anything else changed.</summary>
        public float[] Result()
        {
            _x.AssertUnchanged("x");
            _weight.AssertUnchanged("weight");
            _bias?.AssertUnchanged("bias");
            _y.AssertGuardsIntact("y");
            return _y.Values();
        }

        public void Dispose()
        {
            _x.Dispose();
            _weight.Dispose();
            _bias?.Dispose();
            _y.Dispose();
        }
    }

    /// <summary>Random operands, as the backend and the weight type round them.</summary>
    private sealed record Operands(float[] X, float[] Weight, float[]? Bias, int RowCount, int Outputs, int Inputs, DataType Type)
    {
        public Operands(Backend backend, int rows, int outputs, int inputs, DataType type, bool withBias)
            : this([], [], null, rows, outputs, inputs, type)
        {
            RandomValues random = new($"{rows} {outputs} {inputs} {type}");
            X = StoredValues.Round(random.Normal(rows * inputs), backend.ActivationType);
            Weight = StoredValues.Round(random.Normal(outputs * inputs, 0, 0.1f), type);
            Bias = withBias ? random.Normal(outputs) : null;
        }

        public Operands Rows(int first, int count) => this with { X = X[(first * Inputs)..((first + count) * Inputs)], RowCount = count };

        public PlainBound Bound(DataType activation)
        {
            float[] plain = StoredValues.Round(LinearOracle.Run<float>(X, Weight, Bias, RowCount, Outputs, Inputs), activation);
            float[]? biasSize = Bias?.Select(MathF.Abs).ToArray();
            double[] size = LinearOracle.Run<double>(
                [.. X.Select(MathF.Abs)], [.. Weight.Select(MathF.Abs)], biasSize, RowCount, Outputs, Inputs);
            return new PlainBound(LinearOracle.Run<double>(X, Weight, Bias, RowCount, Outputs, Inputs), plain, size, Outputs)
            {
                UnitRoundoff = StoredValues.UnitRoundoff(activation),
            };
        }
    }
}
