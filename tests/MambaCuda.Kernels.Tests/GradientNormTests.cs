namespace MambaCuda.Kernels.Tests;

/// <summary>The norm of all gradients, on every backend.</summary>
public class GradientNormTests
{
    private static readonly Dictionary<string, (int RowCount, int Columns, float Size)> Cases = (
        from shape in new[] { (1, 1), (1, 3), (2, 31), (7, 130), (100, 257), (1, 32769), (1, 100003) }

        // Squares that float32 cannot hold, at both ends.
        from size in new[] { 1f, 1e30f, 1e-30f }
        select (shape.Item1, shape.Item2, size))
        .ToDictionary(each => FormattableString.Invariant($"{each.Item1} x {each.Item2}, size {each.size}"));

    public static TheoryData<string, string> Rows => TestBackends.With(nameof(Backend.GradientNorm), Cases.Keys);

    [Theory, MemberData(nameof(Rows))]
    public void Is_right_to_the_last_places(string name, string caseName)
    {
        (int rows, int columns, float size) = Cases[caseName];
        using Backend backend = TestBackends.Open(name);
        float[] gradients = new RandomValues(caseName).Normal(rows * columns, 0, size);
        double exact = Math.Sqrt(gradients.Sum(value => (double)value * value));
        float actual = Run(backend, gradients, rows);
        Assert.InRange(Math.Abs(actual - exact) / exact, 0, Math.Pow(2, -23));
        Bits.AssertSame([actual], [Run(backend, gradients, rows)], "again");
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.GradientNorm))];

    [Theory, MemberData(nameof(Backends))]
    public void Is_not_finite_where_a_gradient_is_not(string name)
    {
        const int Count = 70_001;
        using Backend backend = TestBackends.Open(name);
        foreach (int place in new[] { 0, 40_000, Count - 1 })
        {
            float[] gradients = new float[Count];
            gradients[place] = float.NegativeInfinity;
            Assert.Equal(float.PositiveInfinity, Run(backend, gradients, 1));
            gradients[place] = float.NaN;
            Assert.True(float.IsNaN(Run(backend, gradients, 1)));
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void Of_nothing_is_zero(string name)
    {
        using Backend backend = TestBackends.Open(name);
        Assert.Equal(0, Run(backend, [0, 0, 0], 1));
        using OperandArena arena = new(backend);
        MatrixView norm = arena.Float32(1, 1);
        float[] value = [3];
        backend.Upload<float>(value, norm);
        backend.GradientNorm(new GradientNormArgs { Gradients = arena.Float32(1, 0), Norm = norm });
        backend.Download(norm, value.AsSpan());
        Assert.Equal(0, value[0]);
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        float[] gradients = new RandomValues("threads").Normal(400_003);
        using CpuBackend single = new(threads: 1);
        float expected = Run(single, gradients, 1);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame([expected], [Run(several, gradients, 1)], $"{threads} threads");
        }
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        GradientNormArgs right = new() { Gradients = arena.Float32(2, 10), Norm = arena.Float32(1, 1) };
        backend.GradientNorm(right);
        GradientNormArgs args = wrong switch
        {
            "no gradients" => right with { Gradients = default },
            "no norm" => right with { Norm = default },
            "gaps" => right with { Gradients = right.Gradients.ColumnRange(0, 9) },
            "gradients type" => right with { Gradients = arena.New(DataType.BFloat16, 1, 4) },
            "norm type" => right with { Norm = arena.New(DataType.Float64, 1, 1) },
            _ => right with { Norm = arena.Float32(2, 1) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.GradientNorm(args));
        Assert.Equal("GradientNorm: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no gradients", "gradients is missing." },
        { "no norm", "norm is missing." },
        { "gaps", "gradients is (2 x 9) Float32 with row stride 10, but must have no gaps." },
        { "gradients type", "gradients is (1 x 4) BFloat16, but must be Float32." },
        { "norm type", "norm is (1 x 1) Float64, but must be Float32." },
        { "norm rows", "norm is (2 x 1) Float32, but must be (1 x 1)." },
    };

    private static float Run(Backend backend, float[] gradients, int rows)
    {
        using GuardedMatrix input = GuardedMatrix.Input(backend, DataType.Float32, rows, gradients.Length / rows, gradients, gap: 0);
        using GuardedMatrix norm = GuardedMatrix.Output(backend, DataType.Float32, 1, 1);
        backend.GradientNorm(new GradientNormArgs { Gradients = input.View, Norm = norm.View });
        input.AssertUnchanged("gradients");
        norm.AssertGuardsIntact("norm");
        return norm.Values()[0];
    }
}
