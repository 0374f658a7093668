namespace MambaCuda.Kernels.Tests;

/// <summary>The residual sum and its norm, on every backend.</summary>
public class AddRmsNormForwardTests
{
    private static readonly int[] RowCounts = [1, 2, 9, 70];
    private static readonly int[] ChannelCounts = [1, 3, 8, 33, 100, 768];

    public static TheoryData<string, int, int, bool, float> Cases
    {
        get
        {
            TheoryData<string, int, int, bool, float> data = [];
            foreach (string backend in TestBackends.Names)
            {
                foreach (int[] row in AllPairs.Rows(RowCounts.Length, ChannelCounts.Length, 2, 3))
                {
                    data.Add(backend, RowCounts[row[0]], ChannelCounts[row[1]], row[2] == 1, new[] { 1f, 1e-3f, 1e4f }[row[3]]);
                }

                // Longer than a block's registers hold.
                data.Add(backend, 3, 8200, true, 1);
                data.Add(backend, 2, 16391, true, 1);
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, int rows, int channels, bool withX, float scale)
    {
        const float Epsilon = 1e-5f;
        using Backend backend = TestBackends.Open(backendName);
        RandomValues random = new($"{rows} {channels}");
        float[]? x = withX ? StoredValues.Round(random.Normal(rows * channels, 0, scale), backend.ActivationType) : null;
        float[] residual = random.Normal(rows * channels, 0, scale);
        float[] weight = random.Normal(channels, 1, 0.3f);
        (float[] sum, float[] y) = Run(backend, x, residual, weight, Epsilon, GuardedMatrix.UsualGap);

        (double[] exactSum, double[] exact) = AddRmsNormOracle.Run<double>(x, residual, weight, Epsilon);
        (float[] plainSum, float[] plain) = AddRmsNormOracle.Run<float>(x, residual, weight, Epsilon);
        Bits.AssertSame(plainSum, sum, "residual");

        // A norm's errors belong to its row. Where x and the residual cancel, the rounding of their sum is large beside it.
        double Size(int i) => exactSum[i] == 0 ? 0 : Math.Abs(exact[i] / exactSum[i]) * (Math.Abs(residual[i]) + Math.Abs(x?[i] ?? 0));
        double[] size = [.. Enumerable.Range(0, exact.Length).Select(Size)];
        PlainBound bound = new(exact, StoredValues.Round(plain, backend.ActivationType), size, columns: 1)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(backend.ActivationType),
        };
        double quotient = bound.WorstQuotient(y, Enumerable.Repeat(channels, rows));
        Assert.True(quotient <= 1, $"y is off by {quotient:F2} times the bound.");

        (float[] denseSum, float[] dense) = Run(backend, x, residual, weight, Epsilon, gap: 0);
        Bits.AssertSame(sum, denseSum, "residual without gaps");
        Bits.AssertSame(y, dense, "y without gaps");
        (float[] alignedSum, float[] aligned) = Run(backend, x, residual, weight, Epsilon, GuardedMatrix.AlignedGap);
        Bits.AssertSame(sum, alignedSum, "residual, aligned");
        Bits.AssertSame(y, aligned, "y, aligned");
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
        (_, float[] y) = Run(backend, null, residual, weight, 1e-5f, GuardedMatrix.UsualGap);
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
        float[] x = random.Normal(Rows * Channels), residual = random.Normal(Rows * Channels), weight = random.Normal(Channels);
        using CpuBackend single = new(threads: 1);
        (float[] sum, float[] y) = Run(single, x, residual, weight, 1e-5f, GuardedMatrix.UsualGap);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            (float[] otherSum, float[] otherY) = Run(several, x, residual, weight, 1e-5f, GuardedMatrix.UsualGap);
            Bits.AssertSame(sum, otherSum, $"residual, {threads} threads");
            Bits.AssertSame(y, otherY, $"y, {threads} threads");
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
        { "weight rows", "weight is (2 x 4) Float32, but must be (1 x 4)." },
        { "weight type", "weight is (1 x 4) BFloat16, but must be Float32." },
        { "y columns", "y is (6 x 3) Float32, but must be (6 x 4)." },
        { "y type", "y is (6 x 4) BFloat16, but must be Float32." },
    };

    private static (float[] Residual, float[] Y) Run(Backend backend, float[]? x, float[] residual, float[] weight, float epsilon, int gap)
    {
        int channels = weight.Length, rows = residual.Length / channels;
        using GuardedMatrix? xs = x is null ? null : GuardedMatrix.Input(backend, backend.ActivationType, rows, channels, x, gap);
        using GuardedMatrix residuals = GuardedMatrix.Output(backend, DataType.Float32, rows, channels, residual, gap);
        using GuardedMatrix weights = GuardedMatrix.Input(backend, DataType.Float32, 1, channels, weight, gap);
        using GuardedMatrix y = GuardedMatrix.Output(backend, backend.ActivationType, rows, channels, gap: gap);
        backend.AddRmsNormForward(new AddRmsNormForwardArgs
        {
            X = xs?.View ?? default,
            Residual = residuals.View,
            Weight = weights.View,
            Epsilon = epsilon,
            Y = y.View,
        });
        xs?.AssertUnchanged("x");
        weights.AssertUnchanged("weight");
        residuals.AssertGuardsIntact("residual");
        y.AssertGuardsIntact("y");
        return (residuals.Values(), y.Values());
    }
}
