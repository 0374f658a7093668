namespace MambaCuda.Kernels.Tests;

/// <summary>The gradient of A_log, on every backend.</summary>
public class StateMatrixBackwardTests
{
    private static readonly Dictionary<string, (int Size, int Channels)> Cases = (
        from size in new[] { 1, 2, 16, 33 }
        from channels in new[] { 1, 3, 31, 130, 257 }
        select (size, channels)).ToDictionary(each => $"{each.size} x {each.channels}");

    public static TheoryData<string, string> Rows => TestBackends.With(nameof(Backend.StateMatrixBackward), Cases.Keys);

    [Theory, MemberData(nameof(Rows))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string name, string caseName)
    {
        (int size, int channels) = Cases[caseName];
        using Backend backend = TestBackends.Open(name);
        RandomValues random = new(caseName);
        float[] a = random.Uniform(size * channels, -16, 0), gradA = random.Normal(a.Length), before = random.Normal(a.Length);
        float[] actual = Run(backend, a, gradA, before, channels);
        double[] sizes = StateMatrixOracle.Backward<double>(
            Array.ConvertAll(a, MathF.Abs), Array.ConvertAll(gradA, MathF.Abs), Array.ConvertAll(before, MathF.Abs));
        PlainBound bound = new(
            StateMatrixOracle.Backward<double>(a, gradA, before), StateMatrixOracle.Backward<float>(a, gradA, before), sizes, channels);
        OutputError error = bound.Worst("gradient", actual, Enumerable.Repeat(1, size));
        Assert.True(error.IsWithin, error.ToString());
        Bits.AssertSame(actual, Run(backend, a, gradA, before, channels, gap: 0), "without gaps");
        Bits.AssertSame(actual, Run(backend, a, gradA, before, channels, GuardedMatrix.AlignedGap), "aligned");
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        const int Channels = 77;
        RandomValues random = new("threads");
        float[] a = random.Normal(16 * Channels), gradA = random.Normal(a.Length), before = random.Normal(a.Length);
        using CpuBackend single = new(threads: 1);
        float[] expected = Run(single, a, gradA, before, Channels);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame(expected, Run(several, a, gradA, before, Channels), $"{threads} threads");
        }
    }

    [Fact]
    public void The_oracle_is_the_derivative_of_the_forward_oracle()
    {
        RandomValues random = new("derivative");
        float[] logA = FiniteDifferences.Exact(random.Normal(12)), gradA = random.Normal(12);
        float[] a = StateMatrixOracle.Forward<float>(logA);
        FiniteDifferences.AssertGradient(
            "A_log", logA, StateMatrixOracle.Backward<double>(a, gradA, new float[12]),
            moved => StateMatrixOracle.Forward<double>(moved).Zip(gradA, (a, g) => a * g).Sum());
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        StateMatrixBackwardArgs right = new()
        {
            A = arena.Float32(16, 4),
            GradA = arena.Float32(16, 4),
            GradLogA = arena.Float32(16, 4),
        };
        backend.StateMatrixBackward(right);
        StateMatrixBackwardArgs args = wrong switch
        {
            "no A" => right with { A = default },
            "no gradient of A" => right with { GradA = default },
            "no gradient of A_log" => right with { GradLogA = default },
            "A type" => right with { A = arena.New(DataType.BFloat16, 16, 4) },
            "gradient of A" => right with { GradA = arena.Float32(15, 4) },
            _ => right with { GradLogA = arena.Float32(16, 5) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.StateMatrixBackward(args));
        Assert.Equal("StateMatrixBackward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no A", "A is missing." },
        { "no gradient of A", "gradient of A is missing." },
        { "no gradient of A_log", "gradient of A_log is missing." },
        { "A type", "A is (16 x 4) BFloat16, but must be Float32." },
        { "gradient of A", "gradient of A is (15 x 4) Float32 and A is (16 x 4) Float32; they must be the same." },
        { "gradient of A_log", "gradient of A_log is (16 x 5) Float32 and A is (16 x 4) Float32; they must be the same." },
    };

    private static float[] Run(
        Backend backend, float[] a, float[] gradA, float[] gradLogA, int channels, int gap = GuardedMatrix.UsualGap)
    {
        int size = a.Length / channels;
        using GuardedMatrix matrix = GuardedMatrix.Input(backend, DataType.Float32, size, channels, a, gap);
        using GuardedMatrix gradient = GuardedMatrix.Input(backend, DataType.Float32, size, channels, gradA, gap);
        using GuardedMatrix sum = GuardedMatrix.Output(backend, DataType.Float32, size, channels, gradLogA, gap);
        backend.StateMatrixBackward(new StateMatrixBackwardArgs { A = matrix.View, GradA = gradient.View, GradLogA = sum.View });
        matrix.AssertUnchanged("A");
        gradient.AssertUnchanged("gradient of A");
        sum.AssertGuardsIntact("gradient of A_log");
        return sum.Values();
    }
}
