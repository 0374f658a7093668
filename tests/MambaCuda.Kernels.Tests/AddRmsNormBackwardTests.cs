namespace MambaCuda.Kernels.Tests;

/// <summary>The gradients of the residual sum and its norm, on every backend.</summary>
public class AddRmsNormBackwardTests
{
    private const float Epsilon = 1e-5f;
    private static readonly int[] RowCounts = [1, 2, 7, 70, 100];
    private static readonly int[] ChannelCounts = [1, 3, 8, 31, 130, 257, 768];

    private static readonly Dictionary<string, Case> Cases = ((IEnumerable<Case>)
    [
        .. from row in AllPairs.Rows(RowCounts.Length, ChannelCounts.Length, 3)
           select new Case(RowCounts[row[0]], ChannelCounts[row[1]], new[] { 1f, 1e-3f, 1e4f }[row[2]]),

        // More rows than blocks of the shortest length, and longer rows than a block's registers hold.
        new Case(5003, 5, 1),
        new Case(2, 16391, 1),
    ]).ToDictionary(each => each.ToString());

    public static TheoryData<string, string> Rows => TestBackends.With(nameof(Backend.AddRmsNormBackward), Cases.Keys);

    [Theory, MemberData(nameof(Rows))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string name, string caseName)
    {
        using Backend backend = TestBackends.Open(name);
        Operands o = new(backend.ActivationType, Cases[caseName]);
        Gradients actual = Run(backend, o);
        (double[] exactResidual, double[] exactWeight) = AddRmsNormBackwardOracle.Run<double>(
            o.Residual, o.Weight, o.GradY, o.GradResidual, o.GradWeight, Epsilon);
        (float[] plainResidual, float[] plainWeight) = AddRmsNormBackwardOracle.Run<float>(
            o.Residual, o.Weight, o.GradY, o.GradResidual, o.GradWeight, Epsilon);
        (double[] residualSizes, double[] weightSizes) = AddRmsNormBackwardOracle.Sizes(
            o.Residual, o.Weight, o.GradY, o.GradResidual, o.GradWeight, Epsilon);

        // A norm's errors belong to its row, and through the row's scale to all channels of the weight.
        PlainBound bound = new(exactResidual, plainResidual, residualSizes, columns: 1);
        AssertWithin(bound.Worst("gradient of the residual", actual.Residual, Enumerable.Repeat(o.Channels, o.RowCount)));
        PlainBound weightBound = new(exactWeight, plainWeight, weightSizes, columns: 1);
        AssertWithin(weightBound.Worst("gradient of the weight", actual.Weight!, [o.Channels]));
        Bits.AssertSame(StoredValues.Round(actual.Residual, backend.ActivationType), actual.X!, "gradient of x");
        Bits.AssertSame(Forward(backend, o), actual.Y!, "y again");
        actual.AssertSame(Run(backend, o, gap: 0), "without gaps");
        actual.AssertSame(Run(backend, o, GuardedMatrix.AlignedGap), "aligned");
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.AddRmsNormBackward))];

    [Theory, MemberData(nameof(Backends))]
    public void What_is_not_wanted_may_be_left_out(string name)
    {
        using Backend backend = TestBackends.Open(name);
        Operands operands = new(backend.ActivationType, new Case(33, 45, 1));
        Gradients all = Run(backend, operands);
        for (int wanted = 0; wanted < 8; wanted++)
        {
            bool x = (wanted & 1) != 0, weight = (wanted & 2) != 0, y = (wanted & 4) != 0;
            new Gradients(all.Residual, x ? all.X : null, weight ? all.Weight : null, y ? all.Y : null)
                .AssertSame(Run(backend, operands, GuardedMatrix.UsualGap, x, weight, y), $"choice {wanted}");
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_row_of_zeros_is_finite_and_not_a_number_stays_in_its_row(string name)
    {
        const int RowCount = 40, Channels = 19;
        using Backend backend = TestBackends.Open(name);
        Operands operands = new(backend.ActivationType, new Case(RowCount, Channels, 1));
        operands.Residual.AsSpan(3 * Channels, Channels).Clear();
        operands.Residual[(17 * Channels) + 18] = float.NaN;
        Gradients actual = Run(backend, operands);
        Assert.All(actual.Residual, (value, i) => Assert.Equal(i / Channels != 17, float.IsFinite(value)));
        Assert.All(actual.X!, (value, i) => Assert.Equal(i / Channels != 17, float.IsFinite(value)));
        Assert.All(actual.Weight!, value => Assert.True(float.IsNaN(value)));
    }

    [Theory, MemberData(nameof(Backends))]
    public void No_rows_are_no_work(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using OperandArena arena = new(backend);
        MatrixView gradWeight = arena.Float32(1, 3);
        float[] before = [1, 2, 3], after = new float[3];
        backend.Upload<float>(before, gradWeight);
        backend.AddRmsNormBackward(new AddRmsNormBackwardArgs
        {
            Residual = arena.Float32(0, 3),
            Weight = arena.Float32(1, 3),
            Epsilon = Epsilon,
            GradY = arena.New(backend.ActivationType, 0, 3),
            GradResidual = arena.Float32(0, 3),
            GradWeight = gradWeight,
        });
        backend.Download(gradWeight, after.AsSpan());
        Bits.AssertSame(before, after, "gradient of the weight");
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        Operands operands = new(DataType.Float32, new Case(777, 77, 1));
        using CpuBackend single = new(threads: 1);
        Gradients expected = Run(single, operands);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            expected.AssertSame(Run(several, operands), $"{threads} threads");
        }
    }

    [Fact]
    public void The_oracle_is_the_derivative_of_the_forward_oracle()
    {
        Operands o = new(DataType.Float32, new Case(3, 5, 1));
        float[] residual = FiniteDifferences.Exact(o.Residual), weight = FiniteDifferences.Exact(o.Weight);
        double Loss(float[] residual, float[] weight) =>
            AddRmsNormOracle.Run<double>(null, residual, weight, Epsilon).Y.Zip(o.GradY, (y, g) => y * g).Sum();
        (double[] gradResidual, double[] gradWeight) = AddRmsNormBackwardOracle.Run<double>(
            residual, weight, o.GradY, new float[residual.Length], new float[o.Channels], Epsilon);
        FiniteDifferences.AssertGradient("the residual", residual, gradResidual, moved => Loss(moved, weight));
        FiniteDifferences.AssertGradient("the weight", weight, gradWeight, moved => Loss(residual, moved));
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        AddRmsNormBackwardArgs right = new()
        {
            Residual = arena.Float32(6, 4),
            Weight = arena.Float32(1, 4),
            Epsilon = Epsilon,
            GradY = arena.Float32(6, 4),
            GradResidual = arena.Float32(6, 4),
            GradX = arena.Float32(6, 4),
            GradWeight = arena.Float32(1, 4),
            Y = arena.Float32(6, 4),
        };
        backend.AddRmsNormBackward(right);
        AddRmsNormBackwardArgs args = wrong switch
        {
            "no residual" => right with { Residual = default },
            "no weight" => right with { Weight = default },
            "no gradient of y" => right with { GradY = default },
            "no gradient of the residual" => right with { GradResidual = default },
            "residual type" => right with { Residual = arena.New(DataType.BFloat16, 6, 4) },
            "weight columns" => right with { Weight = arena.Float32(1, 5) },
            "gradient of y rows" => right with { GradY = arena.Float32(5, 4) },
            "gradient of y type" => right with { GradY = arena.New(DataType.BFloat16, 6, 4) },
            "gradient of the residual" => right with { GradResidual = arena.Float32(6, 5) },
            "gradient of x" => right with { GradX = arena.Float32(7, 4) },
            "gradient of the weight" => right with { GradWeight = arena.Float32(2, 4) },
            _ => right with { Y = arena.New(DataType.Float16, 6, 4) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.AddRmsNormBackward(args));
        Assert.Equal("AddRmsNormBackward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no residual", "residual is missing." },
        { "no weight", "weight is missing." },
        { "no gradient of y", "gradient of y is missing." },
        { "no gradient of the residual", "gradient of the residual is missing." },
        { "residual type", "residual is (6 x 4) BFloat16, but must be Float32." },
        { "weight columns", "weight is (1 x 5) Float32, but must be (1 x 4)." },
        { "gradient of y rows", "gradient of y is (5 x 4) Float32, but must be (6 x 4)." },
        { "gradient of y type", "gradient of y is (6 x 4) BFloat16, but must be Float32." },
        {
            "gradient of the residual",
            "gradient of the residual is (6 x 5) Float32 and residual is (6 x 4) Float32; they must be the same."
        },
        { "gradient of x", "gradient of x is (7 x 4) Float32 and gradient of y is (6 x 4) Float32; they must be the same." },
        { "gradient of the weight", "gradient of the weight is (2 x 4) Float32 and weight is (1 x 4) Float32; they must be the same." },
        { "y type", "y is (6 x 4) Float16 and gradient of y is (6 x 4) Float32; they must be the same." },
    };

    private static void AssertWithin(OutputError error) => Assert.True(error.IsWithin, error.ToString());

    private static float[] Forward(Backend backend, Operands o)
    {
        using GuardedMatrix residual = GuardedMatrix.Output(backend, DataType.Float32, o.RowCount, o.Channels, o.Residual);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, DataType.Float32, 1, o.Channels, o.Weight);
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, o.RowCount, o.Channels);
        backend.AddRmsNormForward(
            new AddRmsNormForwardArgs { Residual = residual.View, Weight = weight.View, Epsilon = Epsilon, Y = y.View });
        return y.Values();
    }

    private static Gradients Run(
        Backend backend, Operands o, int gap = GuardedMatrix.UsualGap, bool wantX = true, bool wantWeight = true, bool wantY = true)
    {
        DataType activation = backend.ActivationType;
        using GuardedMatrix residual = GuardedMatrix.Input(backend, DataType.Float32, o.RowCount, o.Channels, o.Residual, gap);
        using GuardedMatrix weight = GuardedMatrix.Input(backend, DataType.Float32, 1, o.Channels, o.Weight, gap);
        using GuardedMatrix gradY = GuardedMatrix.Input(backend, activation, o.RowCount, o.Channels, o.GradY, gap);
        using GuardedMatrix gradResidual = GuardedMatrix.Output(backend, DataType.Float32, o.RowCount, o.Channels, o.GradResidual, gap);
        using GuardedMatrix gradX = GuardedMatrix.Output(backend, activation, o.RowCount, o.Channels, gap: gap);
        using GuardedMatrix gradWeight = GuardedMatrix.Output(backend, DataType.Float32, 1, o.Channels, o.GradWeight, gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, activation, o.RowCount, o.Channels, gap: gap);
        backend.AddRmsNormBackward(new AddRmsNormBackwardArgs
        {
            Residual = residual.View,
            Weight = weight.View,
            Epsilon = Epsilon,
            GradY = gradY.View,
            GradResidual = gradResidual.View,
            GradX = wantX ? gradX.View : default,
            GradWeight = wantWeight ? gradWeight.View : default,
            Y = wantY ? y.View : default,
        });
        residual.AssertUnchanged("residual");
        weight.AssertUnchanged("weight");
        gradY.AssertUnchanged("gradient of y");
        gradResidual.AssertGuardsIntact("gradient of the residual");
        gradX.AssertGuardsIntact("gradient of x");
        gradWeight.AssertGuardsIntact("gradient of the weight");
        y.AssertGuardsIntact("y");
        return new Gradients(
            gradResidual.Values(), wantX ? gradX.Values() : null, wantWeight ? gradWeight.Values() : null, wantY ? y.Values() : null);
    }

    private sealed record Case(int RowCount, int Channels, float Scale)
    {
        public override string ToString() => FormattableString.Invariant($"{RowCount} x {Channels}, size {Scale}");
    }

    private sealed record Gradients(float[] Residual, float[]? X, float[]? Weight, float[]? Y)
    {
        public void AssertSame(Gradients other, string what)
        {
            Bits.AssertSame(Residual, other.Residual, $"gradient of the residual, {what}");
            Bits.AssertSame(X ?? [], other.X ?? [], $"gradient of x, {what}");
            Bits.AssertSame(Weight ?? [], other.Weight ?? [], $"gradient of the weight, {what}");
            Bits.AssertSame(Y ?? [], other.Y ?? [], $"y, {what}");
        }
    }

    private sealed class Operands
    {
        public Operands(DataType activation, Case c)
        {
            RandomValues random = new($"norm backward {c}");
            (RowCount, Channels, float scale) = c;
            Residual = random.Normal(RowCount * Channels, 0, scale);
            Weight = random.Normal(Channels, 1, 0.3f);
            GradY = StoredValues.Round(random.Normal(RowCount * Channels), activation);
            GradResidual = random.Normal(RowCount * Channels);
            GradWeight = random.Normal(Channels);
        }

        public int RowCount { get; }

        public int Channels { get; }

        public float[] Residual { get; }

        public float[] Weight { get; }

        public float[] GradY { get; }

        public float[] GradResidual { get; }

        public float[] GradWeight { get; }
    }
}
