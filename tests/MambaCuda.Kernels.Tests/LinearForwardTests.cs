namespace MambaCuda.Kernels.Tests;

/// <summary>The linear layer for every weight type, over sizes that no vector or tile divides, on every backend.</summary>
public class LinearForwardTests
{
    private static readonly DataType[] WeightTypes = [DataType.Float32, DataType.BFloat16, DataType.Float16];

    public static TheoryData<string, string> Cases => TestBackends.WithEvery(LinearCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        LinearInputs inputs = LinearCase.Named(name).Operands(backend.ActivationType);
        float[] actual = LinearRunner.Run(backend, inputs);
        Within.AssertAll(LinearForwardValidation.Compare(inputs, actual));
        float[] withoutGaps = LinearRunner.Run(backend, inputs, gap: 0);
        float[] aligned = LinearRunner.Run(backend, inputs, GuardedMatrix.AlignedGap);
        if (backend.Name == "cpu")
        {
            Bits.AssertSame(actual, withoutGaps, "without gaps");
            Bits.AssertSame(actual, aligned, "aligned");
            return;
        }

        // Where rows lie decides between kernels that add in other orders.
        Within.AssertAll(LinearForwardValidation.Compare(inputs, withoutGaps), "without gaps");
        Within.AssertAll(LinearForwardValidation.Compare(inputs, aligned), "aligned");
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
        LinearInputs inputs = new LinearCase(Rows, Outputs, Inputs, type) { Bias = true }.Operands(backend.ActivationType);
        float[] all = LinearRunner.Run(backend, inputs);
        for (int batch = 1; batch < Rows; batch++)
        {
            for (int first = 0; first + batch <= Rows; first += batch)
            {
                float[] part = LinearRunner.Run(backend, inputs.Rows(first, batch));
                Bits.AssertSame(all[(first * Outputs)..((first + batch) * Outputs)], part, $"rows {first} to {first + batch}");
            }
        }
    }

    /// <summary>Backends on CUDA with placements and the cases that are for each variant there.</summary>
    public static TheoryData<string, string, int> VariantCases
    {
        get
        {
            TheoryData<string, string, int> data = [];
            foreach (string backend in TestBackends.NamesWith(nameof(Backend.LinearForward)).Where(name => name != "cpu"))
            {
                foreach (RowPlacement placement in new[] { RowPlacement.Usual, RowPlacement.Aligned })
                {
                    int count = LinearCase.ForVariants(DataType.Float32, placement).Count();
                    for (int i = 0; i < count; i++)
                    {
                        data.Add(backend, placement.Name, i);
                    }
                }
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(VariantCases))]
    public void Every_variant_is_as_close_to_float64_as_a_plain_evaluation(string name, string placementName, int number)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(name);
        (LinearInputs inputs, int gap) = VariantCase(backend, placementName, number);
        Dictionary<LinearVariant, float[]> results = [];
        foreach (LinearVariant variant in LinearRunner.Variants(backend, inputs, gap))
        {
            float[] y = LinearRunner.Run(backend, inputs, gap, variant);
            Within.AssertAll(LinearForwardValidation.Compare(inputs, y), $"{variant}");
            Bits.AssertSame(y, LinearRunner.Run(backend, inputs, gap, variant), $"{variant} again");
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
        DataType type = backend.ActivationType;
        LinearInputs inside = new LinearCase(rows, Outputs, Inputs, type) { Bias = true }.Operands(type);
        LinearInputs stored = inside with { X = Widened(inside.X), Weight = Widened(inside.Weight), Inputs = Stored };
        using PlacedLinear listed = new(backend, stored, GuardedMatrix.AlignedGap);
        foreach (LinearVariant variant in backend.LinearVariants(Cut(listed.Args)))
        {
            using PlacedLinear placed = new(backend, stored, GuardedMatrix.AlignedGap);
            backend.LinearForward(Cut(placed.Args), variant);
            Within.AssertAll(LinearForwardValidation.Compare(inside, placed.Result()), $"{variant}");
        }

        static float[] Widened(float[] rows) =>
            [.. rows.Chunk(Inputs).SelectMany(row => row.Concat(Enumerable.Repeat(float.NaN, Stored - Inputs)))];

        static LinearForwardArgs Cut(in LinearForwardArgs args) =>
            args with { X = args.X.ColumnRange(0, Inputs), Weight = args.Weight.Matrix.ColumnRange(0, Inputs) };
    }

    /// <summary>
    /// Projections and heads of 130m, 1.4b and 2.8b on 132 multiprocessors, by hand: where one split will do, no partial sums are worth it.
    /// </summary>
    [Theory]
    [InlineData(64, 2560, 10240, 4)]
    [InlineData(64, 5120, 2560, 6)]
    [InlineData(128, 2048, 8192, 4)]
    [InlineData(128, 4096, 2048, 8)]
    [InlineData(64, 768, 3072, 1)]
    [InlineData(64, 768, 50280, 1)]
    [InlineData(64, 2560, 50280, 3)]
    public void Swapped_operands_are_split_so_that_the_busiest_block_moves_the_fewest_bytes(int rows, int inputs, int outputs, int splits)
    {
        LinearTile tile = LinearTileCost.Swapped.Single(each => each.Rows == rows);
        Assert.Equal(splits, tile.SwappedSplits(inputs, outputs, multiprocessors: 132));
    }

    [Fact]
    public void Swapped_operands_need_a_multiprocessor_for_each_part_of_x()
    {
        LinearTile tile = LinearTileCost.Swapped.Single(each => each.Rows == 64);
        Assert.Equal(0, tile.SwappedSplits(inputs: 5120, outputs: 64, multiprocessors: 4));
        Assert.Equal(5, tile.SwappedSplits(inputs: 5120, outputs: 64, multiprocessors: 5));
    }

    [Theory, MemberData(nameof(VariantCases))]
    public void A_row_of_a_variant_for_few_rows_does_not_depend_on_its_batch(string name, string placementName, int number)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(name);
        (LinearInputs inputs, int gap) = VariantCase(backend, placementName, number);
        IEnumerable<LinearVariant> variants = LinearRunner.Variants(backend, inputs, gap);
        foreach (LinearVariant variant in variants.Where(each => each.Algorithm == LinearAlgorithm.Vector))
        {
            float[] all = LinearRunner.Run(backend, inputs, gap, variant);
            for (int row = 0; row < inputs.RowCount; row += 3)
            {
                float[] alone = LinearRunner.Run(backend, inputs.Rows(row, 1), gap, variant);
                Bits.AssertSame(all[(row * inputs.Outputs)..((row + 1) * inputs.Outputs)], alone, $"{variant}, row {row}");
            }
        }
    }

    [Theory]
    [InlineData(1, 3000, 768), InlineData(5, 700, 100), InlineData(200, 300, 33)]
    public void Does_not_depend_on_the_number_of_threads(int rows, int outputs, int inputs)
    {
        using CpuBackend single = new(threads: 1);
        LinearInputs operands = new LinearCase(rows, outputs, inputs, DataType.BFloat16) { Bias = true }.Operands(DataType.Float32);
        float[] expected = LinearRunner.Run(single, operands);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame(expected, LinearRunner.Run(several, operands), $"{threads} threads");
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

    private static (LinearInputs Inputs, int Gap) VariantCase(CudaBackend backend, string placementName, int number)
    {
        RowPlacement placement = placementName == RowPlacement.Aligned.Name ? RowPlacement.Aligned : RowPlacement.Usual;
        LinearCase row = LinearCase.ForVariants(backend.ActivationType, placement).ElementAt(number);
        return (row.Operands(backend.ActivationType), placement.Gap);
    }
}
