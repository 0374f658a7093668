namespace MambaCuda.Kernels.Tests;

/// <summary>The gradient of A_log, on every backend.</summary>
public class StateMatrixBackwardTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.StateMatrixBackward), StateMatrixCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        int channels = StateMatrixCase.Named(name).Channels;
        StateMatrixGradients inputs = StateMatrixCase.Named(name).Gradients();
        float[] actual = StateMatrixRunner.Backward(backend, inputs, channels);
        Within.AssertAll(StateMatrixBackwardValidation.Compare(inputs, channels, actual));
        Bits.AssertSame(actual, StateMatrixRunner.Backward(backend, inputs, channels, gap: 0), "without gaps");
        Bits.AssertSame(actual, StateMatrixRunner.Backward(backend, inputs, channels, GuardedMatrix.AlignedGap), "aligned");
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        const int Channels = 77;
        StateMatrixGradients inputs = new StateMatrixCase(16, Channels).Gradients();
        using CpuBackend single = new(threads: 1);
        float[] expected = StateMatrixRunner.Backward(single, inputs, Channels);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame(expected, StateMatrixRunner.Backward(several, inputs, Channels), $"{threads} threads");
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
}
