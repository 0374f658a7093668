namespace MambaCuda.Kernels.Tests;

/// <summary>The gradients of the residual sum and its norm, on every backend.</summary>
public class AddRmsNormBackwardTests
{
    private const float Epsilon = 1e-5f;

    public static TheoryData<string, string> Cases =>
        TestBackends.With(nameof(Backend.AddRmsNormBackward), AddRmsNormBackwardCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        AddRmsNormBackwardInputs inputs = AddRmsNormBackwardCase.Named(name).Inputs(backend.ActivationType);
        AddRmsNormBackwardResult actual = AddRmsNormBackwardRunner.Run(backend, inputs);
        Within.AssertAll(AddRmsNormBackwardValidation.Compare(inputs, actual, backend.ActivationType));
        AddRmsNormInputs forward = new(null, inputs.Residual, inputs.Weight, inputs.Epsilon);
        Bits.AssertSame(AddRmsNormRunner.Run(backend, forward).Y, actual.Y!, "y again");
        AssertSame(actual, AddRmsNormBackwardRunner.Run(backend, inputs, gap: 0), "without gaps");
        AssertSame(actual, AddRmsNormBackwardRunner.Run(backend, inputs, GuardedMatrix.AlignedGap), "aligned");
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.AddRmsNormBackward))];

    [Theory, MemberData(nameof(Backends))]
    public void What_is_not_wanted_may_be_left_out(string name)
    {
        using Backend backend = TestBackends.Open(name);
        foreach ((int rows, int channels) in new[] { (33, 45), (3, 16391) })
        {
            AddRmsNormBackwardInputs inputs = new AddRmsNormBackwardCase(rows, channels).Inputs(backend.ActivationType);
            AddRmsNormBackwardResult all = AddRmsNormBackwardRunner.Run(backend, inputs);
            for (NormGradients asked = NormGradients.None; asked <= NormGradients.All; asked++)
            {
                AddRmsNormBackwardResult expected = new(
                    all.GradResidual,
                    asked.HasFlag(NormGradients.X) ? all.GradX : null,
                    asked.HasFlag(NormGradients.Weight) ? all.GradWeight : null,
                    asked.HasFlag(NormGradients.Y) ? all.Y : null);
                AssertSame(expected, AddRmsNormBackwardRunner.Run(backend, inputs, GuardedMatrix.UsualGap, asked), $"{asked} alone");
            }
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_row_of_zeros_is_finite_and_not_a_number_stays_in_its_row(string name)
    {
        const int RowCount = 40, Channels = 19;
        using Backend backend = TestBackends.Open(name);
        AddRmsNormBackwardInputs inputs = new AddRmsNormBackwardCase(RowCount, Channels).Inputs(backend.ActivationType);
        inputs.Residual.AsSpan(3 * Channels, Channels).Clear();
        inputs.Residual[(17 * Channels) + 18] = float.NaN;
        AddRmsNormBackwardResult actual = AddRmsNormBackwardRunner.Run(backend, inputs);
        Assert.All(actual.GradResidual, (value, i) => Assert.Equal(i / Channels != 17, float.IsFinite(value)));
        Assert.All(actual.GradX!, (value, i) => Assert.Equal(i / Channels != 17, float.IsFinite(value)));
        Assert.All(actual.GradWeight!, value => Assert.True(float.IsNaN(value)));
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
        AddRmsNormBackwardInputs inputs = new AddRmsNormBackwardCase(777, 77).Inputs(DataType.Float32);
        using CpuBackend single = new(threads: 1);
        AddRmsNormBackwardResult expected = AddRmsNormBackwardRunner.Run(single, inputs);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            AssertSame(expected, AddRmsNormBackwardRunner.Run(several, inputs), $"{threads} threads");
        }
    }

    [Fact]
    public void The_oracle_is_the_derivative_of_the_forward_oracle()
    {
        AddRmsNormBackwardInputs o = new AddRmsNormBackwardCase(3, 5).Inputs(DataType.Float32);
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

    private static void AssertSame(AddRmsNormBackwardResult expected, AddRmsNormBackwardResult actual, string what)
    {
        Bits.AssertSame(expected.GradResidual, actual.GradResidual, $"gradient of the residual, {what}");
        Bits.AssertSame(expected.GradX ?? [], actual.GradX ?? [], $"gradient of x, {what}");
        Bits.AssertSame(expected.GradWeight ?? [], actual.GradWeight ?? [], $"gradient of the weight, {what}");
        Bits.AssertSame(expected.Y ?? [], actual.Y ?? [], $"y, {what}");
    }
}
