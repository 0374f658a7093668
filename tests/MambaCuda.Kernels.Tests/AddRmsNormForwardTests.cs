namespace MambaCuda.Kernels.Tests;

/// <summary>The residual sum and its norm, on every backend.</summary>
public class AddRmsNormForwardTests
{
    public static TheoryData<string, string> Cases => TestBackends.WithEvery(AddRmsNormCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        AddRmsNormCase row = AddRmsNormCase.Named(name);
        AddRmsNormInputs inputs = row.Inputs(backend.ActivationType);
        AddRmsNormResult actual = AddRmsNormRunner.Run(backend, inputs, apart: row.Apart);
        Within.AssertAll(AddRmsNormForwardValidation.Compare(inputs, actual, backend.ActivationType));
        foreach (bool apart in new[] { false, true })
        {
            string how = apart ? "apart" : "in place";
            AssertSame(actual, AddRmsNormRunner.Run(backend, inputs, apart: apart), how);
            AssertSame(actual, AddRmsNormRunner.Run(backend, inputs, gap: 0, apart), $"without gaps, {how}");
            AssertSame(actual, AddRmsNormRunner.Run(backend, inputs, GuardedMatrix.AlignedGap, apart), $"aligned, {how}");
        }
    }

    public static TheoryData<string> Backends => TestBackends.Rows;

    [Theory, MemberData(nameof(Backends))]
    public void A_row_of_zeros_stays_zero_and_not_a_number_stays_in_its_row(string name)
    {
        const int Rows = 40, Channels = 19;
        using Backend backend = TestBackends.Open(name);
        float[] residual = new RandomValues(name).Normal(Rows * Channels);
        residual.AsSpan(3 * Channels, Channels).Clear();
        residual[(17 * Channels) + 18] = float.NaN;
        float[] weight = [.. Enumerable.Repeat(2f, Channels)];
        float[] y = AddRmsNormRunner.Run(backend, new AddRmsNormInputs(null, residual, weight, Epsilon: 1e-5f)).Y;
        for (int i = 0; i < y.Length; i++)
        {
            Assert.True(float.IsNaN(y[i]) == (i / Channels == 17), $"Element {i} is {y[i]}.");
            Assert.True(i / Channels != 3 || y[i] == 0, $"Element {i} of the zero row is {y[i]}.");
        }
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        const int Rows = 101, Channels = 77;
        RandomValues random = new("threads");
        AddRmsNormInputs inputs = new(
            random.Normal(Rows * Channels), random.Normal(Rows * Channels), random.Normal(Channels), Epsilon: 1e-5f);
        using CpuBackend single = new(threads: 1);
        AddRmsNormResult expected = AddRmsNormRunner.Run(single, inputs);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            AssertSame(expected, AddRmsNormRunner.Run(several, inputs), $"{threads} threads");
        }
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        AddRmsNormForwardArgs right = new()
        {
            X = arena.Float32(6, 4),
            Residual = arena.Float32(6, 4),
            Weight = arena.Float32(1, 4),
            Y = arena.Float32(6, 4),
            Epsilon = 1e-5f,
        };
        backend.AddRmsNormForward(right);
        AddRmsNormForwardArgs args = wrong switch
        {
            "no residual" => right with { Residual = default },
            "no weight" => right with { Weight = default },
            "no y" => right with { Y = default },
            "x rows" => right with { X = arena.Float32(5, 4) },
            "x type" => right with { X = arena.New(DataType.Float16, 6, 4) },
            "residual type" => right with { Residual = arena.New(DataType.BFloat16, 6, 4) },
            "residual out rows" => right with { ResidualOut = arena.Float32(7, 4) },
            "residual out type" => right with { ResidualOut = arena.New(DataType.BFloat16, 6, 4) },
            "weight rows" => right with { Weight = arena.Float32(2, 4) },
            "weight type" => right with { Weight = arena.New(DataType.BFloat16, 1, 4) },
            "y columns" => right with { Y = arena.Float32(6, 3) },
            _ => right with { Y = arena.New(DataType.BFloat16, 6, 4) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.AddRmsNormForward(args));
        Assert.Equal("AddRmsNormForward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no residual", "residual is missing." },
        { "no weight", "weight is missing." },
        { "no y", "y is missing." },
        { "x rows", "x is (5 x 4) Float32, but must be (6 x 4)." },
        { "x type", "x is (6 x 4) Float16, but must be Float32." },
        { "residual type", "residual is (6 x 4) BFloat16, but must be Float32." },
        { "residual out rows", "residual out is (7 x 4) Float32, but must be (6 x 4)." },
        { "residual out type", "residual out is (6 x 4) BFloat16, but must be Float32." },
        { "weight rows", "weight is (2 x 4) Float32, but must be (1 x 4)." },
        { "weight type", "weight is (1 x 4) BFloat16, but must be Float32." },
        { "y columns", "y is (6 x 3) Float32, but must be (6 x 4)." },
        { "y type", "y is (6 x 4) BFloat16, but must be Float32." },
    };

    private static void AssertSame(AddRmsNormResult expected, AddRmsNormResult actual, string how)
    {
        Bits.AssertSame(expected.Residual, actual.Residual, $"residual, {how}");
        Bits.AssertSame(expected.Y, actual.Y, $"y, {how}");
    }
}
