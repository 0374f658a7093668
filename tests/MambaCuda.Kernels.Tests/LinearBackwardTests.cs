namespace MambaCuda.Kernels.Tests;

/// <summary>The gradients of the linear layer for every weight type, over sizes that no vector or tile divides, on every backend.</summary>
public class LinearBackwardTests
{
    private static readonly int[] RowCounts = [1, 2, 7, 13, 100];
    private static readonly int[] Widths = [1, 3, 16, 31, 130, 257];
    private static readonly DataType[] WeightTypes = [DataType.Float32, DataType.BFloat16, DataType.Float16];

    private static readonly Dictionary<string, Case> Cases = ((IEnumerable<Case>)
    [
        .. from row in AllPairs.Rows(RowCounts.Length, Widths.Length, Widths.Length, WeightTypes.Length, 2)
           select new Case(RowCounts[row[0]], Widths[row[1]], Widths[row[2]], WeightTypes[row[3]], row[4] == 1),

        // Sums over tokens, and over outputs, that are cut into panels.
        new Case(3000, 31, 33, DataType.Float32, false),
        new Case(1025, 5, 18, DataType.BFloat16, true),
        new Case(9, 2500, 21, DataType.BFloat16, true),
    ]).ToDictionary(each => each.ToString());

    public static TheoryData<string, string> Rows => TestBackends.With(nameof(Backend.LinearBackward), Cases.Keys);

    [Theory, MemberData(nameof(Rows))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string name, string caseName)
    {
        using Backend backend = TestBackends.Open(name);
        Operands operands = new(backend.ActivationType, Cases[caseName]);
        Gradients actual = Run(backend, operands);
        AssertClose(operands, backend.ActivationType, actual);
        foreach (int gap in new[] { 0, GuardedMatrix.AlignedGap })
        {
            Gradients placed = Run(backend, operands, gap);
            if (backend.Name == "cpu")
            {
                actual.AssertSame(placed, $"gap {gap}");
            }
            else
            {
                AssertClose(operands, backend.ActivationType, placed);
            }
        }
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.LinearBackward))];

    [Theory, MemberData(nameof(Backends))]
    public void Each_gradient_may_be_left_out(string name)
    {
        using Backend backend = TestBackends.Open(name);
        Operands operands = new(backend.ActivationType, new Case(19, 37, 23, DataType.BFloat16, false));
        Gradients all = Run(backend, operands);
        for (int wanted = 0; wanted < 8; wanted++)
        {
            Gradients some = Run(backend, operands, GuardedMatrix.UsualGap, (wanted & 1) != 0, (wanted & 2) != 0, (wanted & 4) != 0);
            new Gradients(
                (wanted & 1) != 0 ? all.X : null, (wanted & 2) != 0 ? all.Weight : null, (wanted & 4) != 0 ? all.Bias : null)
                .AssertSame(some, $"choice {wanted}");
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void Two_runs_give_the_same_bits(string name)
    {
        using Backend backend = TestBackends.Open(name);
        Operands operands = new(backend.ActivationType, new Case(190, 67, 53, DataType.Float32, true));
        Run(backend, operands).AssertSame(Run(backend, operands), "again");
    }

    public static TheoryData<string> CudaBackends =>
        [.. TestBackends.NamesWith(nameof(Backend.LinearBackward)).Where(name => name != "cpu")];

    // On the CPU the table of cases has sums of several panels.
    [Theory, MemberData(nameof(CudaBackends))]
    public void Operands_that_are_too_large_to_be_transposed_at_once_are_cut(string name)
    {
        // Invariant, so that it is our own tiles that compute, which need the scratch.
        using CudaBackend backend = (CudaBackend)TestBackends.Open(name, batchInvariant: true);
        Operands operands = new(backend.ActivationType, new Case(600, 19, 300, DataType.Float32, true));
        Gradients whole = Run(backend, operands);
        backend.TransposedBytes = 1;
        Gradients cut = Run(backend, operands);
        AssertClose(operands, backend.ActivationType, cut);

        // A sum for the gradient of x is never cut.
        Bits.AssertSame(whole.X!, cut.X!, "gradient of x");
    }

    [Theory, MemberData(nameof(Backends))]
    public void Not_a_number_shows_in_every_sum_that_has_it(string name)
    {
        const int Rows = 20, Outputs = 9, Inputs = 11, BadRow = 13, BadOutput = 4;
        using Backend backend = TestBackends.Open(name);
        Operands operands = new(backend.ActivationType, new Case(Rows, Outputs, Inputs, DataType.Float32, false));
        operands.GradY[(BadRow * Outputs) + BadOutput] = float.NaN;
        Gradients actual = Run(backend, operands);
        Assert.All(actual.X!, (value, i) => Assert.Equal(i / Inputs == BadRow, float.IsNaN(value)));
        Assert.All(actual.Weight!, (value, i) => Assert.Equal(i / Inputs == BadOutput, float.IsNaN(value)));
        Assert.All(actual.Bias!, (value, i) => Assert.Equal(i == BadOutput, float.IsNaN(value)));
    }

    [Theory, MemberData(nameof(Backends))]
    public void No_rows_are_no_work(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using OperandArena arena = new(backend);
        MatrixView gradWeight = arena.Float32(3, 4);
        float[] before = [.. Enumerable.Range(0, 12)], after = new float[12];
        backend.Upload<float>(before, gradWeight);
        LinearBackwardArgs args = new()
        {
            X = arena.New(backend.ActivationType, 0, 4),
            Weight = arena.Float32(3, 4),
            GradY = arena.New(backend.ActivationType, 0, 3),
            GradX = arena.New(backend.ActivationType, 0, 4),
            GradWeight = gradWeight,
            GradBias = arena.Float32(1, 3),
        };
        backend.LinearBackward(args);
        backend.Download(gradWeight, after.AsSpan());
        Bits.AssertSame(before, after, "gradient of the weight");
        backend.LinearBackward(args with { OverwritesGradWeight = true });
        backend.Download(gradWeight, after.AsSpan());
        Bits.AssertSame(new float[12], after, "gradient of the weight, overwritten");
    }

    [Theory]
    [InlineData(1, 300, 70), InlineData(2100, 40, 33), InlineData(50, 2100, 65)]
    public void Does_not_depend_on_the_number_of_threads(int rows, int outputs, int inputs)
    {
        Operands operands = new(DataType.Float32, new Case(rows, outputs, inputs, DataType.BFloat16, true));
        using CpuBackend single = new(threads: 1);
        Gradients expected = Run(single, operands);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            expected.AssertSame(Run(several, operands), $"{threads} threads");
        }
    }

    [Fact]
    public void A_row_s_gradient_does_not_depend_on_its_batch()
    {
        const int Outputs = 1500, Inputs = 37;
        using CpuBackend backend = new(threads: 2);
        Operands operands = new(DataType.Float32, new Case(40, Outputs, Inputs, DataType.BFloat16, false));
        float[] all = Run(backend, operands).X!;
        foreach ((int first, int count) in new[] { (0, 1), (7, 3), (13, 12), (20, 20) })
        {
            Operands part = operands.Rows(first, count);
            Bits.AssertSame(all[(first * Inputs)..((first + count) * Inputs)], Run(backend, part).X!, $"{count} rows from {first}");
        }
    }

    [Fact]
    public void The_oracle_is_the_derivative_of_the_forward_oracle()
    {
        const int Rows = 5, Outputs = 4, Inputs = 3;
        Operands o = new(DataType.Float32, new Case(Rows, Outputs, Inputs, DataType.Float32, false));
        float[] x = FiniteDifferences.Exact(o.X), weight = FiniteDifferences.Exact(o.Weight), bias = new float[Outputs];
        double Loss(float[] x, float[] weight, float[] bias) =>
            LinearOracle.Run<double>(x, weight, bias, Rows, Outputs, Inputs).Zip(o.GradY, (y, g) => y * g).Sum();
        FiniteDifferences.AssertGradient(
            "x", x, LinearBackwardOracle.OfX<double>(o.GradY, weight, null, Rows, Outputs, Inputs), moved => Loss(moved, weight, bias));
        FiniteDifferences.AssertGradient(
            "the weight", weight, LinearBackwardOracle.OfWeight<double>(o.GradY, x, new float[weight.Length], Rows, Outputs, Inputs),
            moved => Loss(x, moved, bias));
        FiniteDifferences.AssertGradient(
            "the bias", bias, LinearBackwardOracle.OfBias<double>(o.GradY, bias), moved => Loss(x, weight, moved));
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        LinearBackwardArgs right = new()
        {
            X = arena.Float32(6, 4),
            Weight = arena.New(DataType.BFloat16, 8, 4),
            GradY = arena.Float32(6, 8),
            GradX = arena.Float32(6, 4),
            GradWeight = arena.Float32(8, 4),
            GradBias = arena.Float32(1, 8),
        };
        backend.LinearBackward(right);
        MatrixView square = arena.Float32(6, 8);
        LinearBackwardArgs args = wrong switch
        {
            "no gradient of y" => right with { GradY = default },
            "no weight" => right with { Weight = default },
            "no x" => right with { X = default },
            "gradient of y type" => right with { GradY = arena.New(DataType.BFloat16, 6, 8) },
            "weight rows" => right with { Weight = arena.Float32(7, 4) },
            "weight type" => right with { Weight = arena.New(DataType.Int32, 8, 4) },
            "gradient of x rows" => right with { GradX = arena.Float32(5, 4) },
            "gradient of x type" => right with { GradX = arena.New(DataType.Float16, 6, 4) },
            "gradient of x in place" => right with { GradY = square, GradX = square, Weight = arena.Float32(8, 8) },
            "x columns" => right with { X = arena.Float32(6, 5) },
            "x type" => right with { X = arena.New(DataType.Float16, 6, 4) },
            "gradient of the weight rows" => right with { GradWeight = arena.Float32(7, 4) },
            "gradient of the weight type" => right with { GradWeight = arena.New(DataType.BFloat16, 8, 4) },
            "gradient of the bias columns" => right with { GradBias = arena.Float32(1, 4) },
            _ => right with { GradBias = arena.New(DataType.BFloat16, 1, 8) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.LinearBackward(args));
        Assert.Equal("LinearBackward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no gradient of y", "gradient of y is missing." },
        { "no weight", "weight is missing." },
        { "no x", "x is missing." },
        { "gradient of y type", "gradient of y is (6 x 8) BFloat16, but must be Float32." },
        { "weight rows", "weight is (7 x 4) Float32, but must be (8 x 4)." },
        { "weight type", "weight is (8 x 4) Int32, but weights are Float32, BFloat16 or Float16." },
        { "gradient of x rows", "gradient of x is (5 x 4) Float32, but must be (6 x 4)." },
        { "gradient of x type", "gradient of x is (6 x 4) Float16, but must be Float32." },
        { "gradient of x in place", "gradient of x and gradient of y are the same memory, but cannot be." },
        { "x columns", "x is (6 x 5) Float32, but must be (6 x 4)." },
        { "x type", "x is (6 x 4) Float16, but must be Float32." },
        { "gradient of the weight rows", "gradient of the weight is (7 x 4) Float32, but must be (8 x 4)." },
        { "gradient of the weight type", "gradient of the weight is (8 x 4) BFloat16, but must be Float32." },
        { "gradient of the bias columns", "gradient of the bias is (1 x 4) Float32, but must be (1 x 8)." },
        { "gradient of the bias type", "gradient of the bias is (1 x 8) BFloat16, but must be Float32." },
    };

    private static void AssertClose(Operands o, DataType activation, Gradients actual)
    {
        (int rows, int outputs, int inputs, _, bool add) = o.Case;
        float[] gradY = Absolute(o.GradY), weight = Absolute(o.Weight), x = Absolute(o.X);
        PlainBound boundX = new(
            LinearBackwardOracle.OfX<double>(o.GradY, o.Weight, add ? o.GradX : null, rows, outputs, inputs),
            StoredValues.Round(LinearBackwardOracle.OfX<float>(o.GradY, o.Weight, add ? o.GradX : null, rows, outputs, inputs), activation),
            LinearBackwardOracle.OfX<double>(gradY, weight, add ? Absolute(o.GradX) : null, rows, outputs, inputs),
            inputs)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        AssertWithin(boundX.Worst("gradient of x", actual.X!, [rows]));
        PlainBound boundWeight = new(
            LinearBackwardOracle.OfWeight<double>(o.GradY, o.X, o.GradWeight, rows, outputs, inputs),
            LinearBackwardOracle.OfWeight<float>(o.GradY, o.X, o.GradWeight, rows, outputs, inputs),
            LinearBackwardOracle.OfWeight<double>(gradY, x, Absolute(o.GradWeight), rows, outputs, inputs),
            inputs);
        AssertWithin(boundWeight.Worst("gradient of the weight", actual.Weight!, [outputs]));
        PlainBound boundBias = new(
            LinearBackwardOracle.OfBias<double>(o.GradY, o.GradBias),
            LinearBackwardOracle.OfBias<float>(o.GradY, o.GradBias),
            LinearBackwardOracle.OfBias<double>(gradY, Absolute(o.GradBias)),
            outputs);
        AssertWithin(boundBias.Worst("gradient of the bias", actual.Bias!, [1]));
    }

    private static void AssertWithin(OutputError error) => Assert.True(error.IsWithin, error.ToString());

    private static float[] Absolute(float[] values) => Array.ConvertAll(values, MathF.Abs);

    private static Gradients Run(
        Backend backend, Operands operands, int gap = GuardedMatrix.UsualGap, bool wantX = true, bool wantWeight = true,
        bool wantBias = true)
    {
        (int rows, int outputs, int inputs, DataType type, bool add) = operands.Case;
        DataType activation = backend.ActivationType;
        using GuardedMatrix x = GuardedMatrix.Input(backend, activation, rows, inputs, operands.X, gap);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, type, outputs, inputs, operands.Weight, gap);
        using GuardedMatrix gradY = GuardedMatrix.Input(backend, activation, rows, outputs, operands.GradY, gap);
        using GuardedMatrix gradX = GuardedMatrix.Output(backend, activation, rows, inputs, add ? operands.GradX : null, gap);
        using GuardedMatrix gradWeight = GuardedMatrix.Output(
            backend, DataType.Float32, outputs, inputs, add ? operands.GradWeight : null, gap);
        using GuardedMatrix gradBias = GuardedMatrix.Output(backend, DataType.Float32, 1, outputs, operands.GradBias, gap);
        backend.LinearBackward(new LinearBackwardArgs
        {
            X = wantWeight ? x.View : default,
            Weight = wantX ? weight.View : default,
            GradY = gradY.View,
            GradX = wantX ? gradX.View : default,
            AddToGradX = add,
            GradWeight = wantWeight ? gradWeight.View : default,
            OverwritesGradWeight = !add,
            GradBias = wantBias ? gradBias.View : default,
        });
        x.AssertUnchanged("x");
        weight.AssertUnchanged("weight");
        gradY.AssertUnchanged("gradient of y");
        gradX.AssertGuardsIntact("gradient of x");
        gradWeight.AssertGuardsIntact("gradient of the weight");
        gradBias.AssertGuardsIntact("gradient of the bias");
        return new Gradients(wantX ? gradX.Values() : null, wantWeight ? gradWeight.Values() : null, wantBias ? gradBias.Values() : null);
    }

    private sealed record Case(int RowCount, int Outputs, int Inputs, DataType Type, bool Add)
    {
        public override string ToString() => $"{RowCount} x {Inputs} -> {Outputs} {Type}{(Add ? ", added" : "")}";
    }

    private sealed record Gradients(float[]? X, float[]? Weight, float[]? Bias)
    {
        public void AssertSame(Gradients other, string what)
        {
            Bits.AssertSame(X ?? [], other.X ?? [], $"gradient of x, {what}");
            Bits.AssertSame(Weight ?? [], other.Weight ?? [], $"gradient of the weight, {what}");
            Bits.AssertSame(Bias ?? [], other.Bias ?? [], $"gradient of the bias, {what}");
        }
    }

    /// <summary>Random operands, as the backend and the weight type round them, and gradients to add to.</summary>
    private sealed record Operands(
        float[] X, float[] Weight, float[] GradY, float[] GradX, float[] GradWeight, float[] GradBias, Case Case)
    {
        public Operands(DataType activation, Case c) : this([], [], [], [], [], [], c)
        {
            RandomValues random = new($"backward {c}");
            X = StoredValues.Round(random.Normal(c.RowCount * c.Inputs), activation);
            Weight = StoredValues.Round(random.Normal(c.Outputs * c.Inputs, 0, 0.1f), c.Type);
            GradY = StoredValues.Round(random.Normal(c.RowCount * c.Outputs, 0.1f), activation);
            GradX = StoredValues.Round(random.Normal(c.RowCount * c.Inputs), activation);
            GradWeight = c.Add ? random.Normal(c.Outputs * c.Inputs) : new float[c.Outputs * c.Inputs];
            GradBias = random.Normal(c.Outputs);
        }

        public Operands Rows(int first, int count) => this with
        {
            Case = Case with { RowCount = count },
            X = X[(first * Case.Inputs)..((first + count) * Case.Inputs)],
            GradX = GradX[(first * Case.Inputs)..((first + count) * Case.Inputs)],
            GradY = GradY[(first * Case.Outputs)..((first + count) * Case.Outputs)],
        };
    }
}
