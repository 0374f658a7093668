namespace MambaCuda.Kernels.Tests;

/// <summary>A = -exp(A_log), on every backend.</summary>
public class StateMatrixForwardTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.StateMatrixForward), StateMatrixCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        int channels = StateMatrixCase.Named(name).Channels;
        float[] logA = StateMatrixCase.Named(name).LogA(), actual = StateMatrixRunner.Forward(backend, logA, channels);
        Within.AssertAll(StateMatrixForwardValidation.Compare(logA, channels, actual));
        Bits.AssertSame(actual, StateMatrixRunner.Forward(backend, logA, channels, gap: 0), "without gaps");
        Bits.AssertSame(actual, StateMatrixRunner.Forward(backend, logA, channels, GuardedMatrix.AlignedGap), "aligned");
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.StateMatrixForward))];

    [Theory, MemberData(nameof(Backends))]
    public void The_ends_of_the_range_and_not_a_number_are_right(string name)
    {
        using Backend backend = TestBackends.Open(name);
        float[] actual = StateMatrixRunner.Forward(
            backend, [float.NegativeInfinity, -200, 0, 200, float.PositiveInfinity, float.NaN, 0, 0, 0, float.NaN], channels: 10);
        Assert.Equal([0, 0, -1, float.NegativeInfinity, float.NegativeInfinity, float.NaN, -1, -1, -1, float.NaN], actual);
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        float[] logA = new RandomValues("threads").Normal(16 * 77);
        using CpuBackend single = new(threads: 1);
        float[] expected = StateMatrixRunner.Forward(single, logA, 77);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame(expected, StateMatrixRunner.Forward(several, logA, 77), $"{threads} threads");
        }
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        StateMatrixForwardArgs right = new() { LogA = arena.Float32(16, 4), A = arena.Float32(16, 4) };
        backend.StateMatrixForward(right);
        StateMatrixForwardArgs args = wrong switch
        {
            "no A_log" => right with { LogA = default },
            "no A" => right with { A = default },
            "A_log type" => right with { LogA = arena.New(DataType.BFloat16, 16, 4) },
            _ => right with { A = arena.Float32(16, 5) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.StateMatrixForward(args));
        Assert.Equal("StateMatrixForward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no A_log", "A_log is missing." },
        { "no A", "A is missing." },
        { "A_log type", "A_log is (16 x 4) BFloat16, but must be Float32." },
        { "A columns", "A is (16 x 5) Float32 and A_log is (16 x 4) Float32; they must be the same." },
    };
}
