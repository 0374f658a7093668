namespace MambaCuda.Kernels.Tests;

/// <summary>Steps of AdamW, on every backend.</summary>
public class AdamWTests
{
    private static readonly AdamWSettings Usual = new(3e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 1);

    private static readonly Dictionary<string, Case> Cases = ((IEnumerable<Case>)
    [
        new("one parameter", 1, 1, 1, Usual, DataType.Float32),
        new("few parameters, none decayed", 1, 3, 1, Usual with { WeightDecay = 0 }, DataType.BFloat16),
        new("a loss scale", 1, 31, 1024, Usual with { GradientScale = 1f / 1024 }, DataType.Float16),
        new("rows", 7, 130, 1, Usual, DataType.BFloat16),
        new("many", 1, 100_003, 1, Usual with { MaxGradientNorm = 10 }, DataType.Float16),
        new("not clipped", 2, 257, 1e-3f, Usual, null),
        new("without a norm", 100, 33, 1, Usual with { MaxGradientNorm = 0 }, DataType.Float32),
        new("an infinite limit", 1, 257, 1, Usual with { MaxGradientNorm = float.PositiveInfinity }, null),
        new("small gradients", 1, 257, 1e-9f, Usual with { Beta2 = 0.999f }, DataType.BFloat16),
        new("large gradients", 1, 257, 1e15f, Usual with { Beta2 = 0.999f, MaxGradientNorm = float.PositiveInfinity }, null),
    ]).ToDictionary(each => each.Name);

    public static TheoryData<string, string> Rows => TestBackends.With(nameof(Backend.AdamW), Cases.Keys);

    [Theory, MemberData(nameof(Rows))]
    public void Twenty_steps_are_as_close_to_float64_as_a_plain_evaluation(string name, string caseName)
    {
        Case c = Cases[caseName];
        using Backend backend = TestBackends.Open(name);
        RandomValues random = new(caseName);
        float[] initial = random.Normal(c.Count);
        AdamWOracle<double> exact = new(initial, c.Settings);
        AdamWOracle<float> plain = new(initial, c.Settings);
        using Optimizer optimizer = new(backend, c, initial), again = new(backend, c, initial);
        for (int step = 1; step <= 20; step++)
        {
            float[] gradients = Gradients(random, c);
            float? norm = c.Settings.MaxGradientNorm == 0 ? null : Norm(gradients);
            exact.Step(gradients, norm);
            plain.Step(gradients, norm);
            optimizer.Step(gradients, norm, step);
            again.Step(gradients, norm, step, storesFactors: true);
            if (step is not (1 or 20))
            {
                continue;
            }

            float[] actual = optimizer.Values();
            OutputError error = new PlainBound(exact.Parameters, plain.Parameters, exact.Sizes, 1).Worst("parameters", actual, [c.Count]);
            Assert.True(error.IsWithin, $"After step {step} {error}.");
            Bits.AssertSame(actual, again.Values(), "again");
            if (c.Rounded is { } type)
            {
                Bits.AssertSame(StoredValues.Round(actual, type), optimizer.RoundedValues(), "rounded");
            }
        }
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.AdamW))];

    [Theory, MemberData(nameof(Backends))]
    public void The_first_step_is_the_learning_rate_whatever_the_gradient(string name)
    {
        using Backend backend = TestBackends.Open(name);
        AdamWSettings settings = Usual with { WeightDecay = 0, MaxGradientNorm = 0 };
        using Optimizer optimizer = new(backend, new Case("first", 1, 4, 1, settings, null), [1, 1, 1, 1]);
        optimizer.Step([1e-3f, -1e-3f, 1e3f, 0], null, 1);
        float[] values = optimizer.Values();
        Assert.Equal(1 - settings.LearningRate, values[0], 1e-6f);
        Assert.Equal(1 + settings.LearningRate, values[1], 1e-6f);
        Assert.Equal(1 - settings.LearningRate, values[2], 1e-6f);
        Assert.Equal(1, values[3]);
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_norm_that_is_not_finite_changes_nothing(string name)
    {
        using Backend backend = TestBackends.Open(name);
        float[] initial = new RandomValues("finite").Normal(37);
        foreach (float norm in new[] { float.NaN, float.PositiveInfinity })
        {
            using Optimizer optimizer = new(backend, new Case("skipped", 1, 37, 1, Usual, DataType.BFloat16), initial);
            optimizer.Step([.. Enumerable.Repeat(float.NaN, 37)], norm, 1);
            optimizer.AssertUnchanged();
        }
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        Case c = new("threads", 1, 50_001, 1, Usual, DataType.BFloat16);
        float[] initial = new RandomValues("threads").Normal(c.Count), gradients = Gradients(new RandomValues("gradients"), c);
        float[] Run(int threads)
        {
            using CpuBackend backend = new(threads);
            using Optimizer optimizer = new(backend, c, initial);
            optimizer.Step(gradients, Norm(gradients), 1);
            optimizer.Step(gradients, Norm(gradients), 2);
            return [.. optimizer.Values(), .. optimizer.RoundedValues()];
        }

        float[] expected = Run(1);
        Bits.AssertSame(expected, Run(2), "2 threads");
        Bits.AssertSame(expected, Run(3), "3 threads");
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        AdamWArgs right = Args(Usual, 1) with
        {
            Parameters = arena.Float32(2, 10),
            Gradients = arena.Float32(2, 10),
            FirstMoment = arena.Float32(2, 10),
            SecondMoment = arena.Float32(2, 10),
            Rounded = arena.New(DataType.BFloat16, 2, 10),
            GradientNorm = arena.Float32(1, 1),
        };
        backend.AdamW(right);
        AdamWArgs args = wrong switch
        {
            "no parameters" => right with { Parameters = default },
            "no gradients" => right with { Gradients = default },
            "no first moment" => right with { FirstMoment = default },
            "no second moment" => right with { SecondMoment = default },
            "parameters type" => right with { Parameters = arena.New(DataType.BFloat16, 2, 10) },
            "parameters gaps" => right with { Parameters = arena.Float32(2, 11).ColumnRange(0, 10) },
            "gradients" => right with { Gradients = arena.Float32(1, 20) },
            "moment gaps" => right with { SecondMoment = arena.Float32(2, 11).ColumnRange(0, 10) },
            "rounded" => right with { Rounded = arena.New(DataType.BFloat16, 1, 20) },
            "factors" => right with { Factors = arena.Float32(3, 1) },
            "factors type" => right with { Factors = arena.New(DataType.Int32, 1, 3) },
            "rounded type" => right with { Rounded = arena.New(DataType.Int32, 2, 10) },
            _ => right with { GradientNorm = arena.Float32(1, 2) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.AdamW(args));
        Assert.Equal("AdamW: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no parameters", "parameters is missing." },
        { "no gradients", "gradients is missing." },
        { "no first moment", "first moment is missing." },
        { "no second moment", "second moment is missing." },
        { "parameters type", "parameters is (2 x 10) BFloat16, but must be Float32." },
        { "parameters gaps", "parameters is (2 x 10) Float32 with row stride 11, but must have no gaps." },
        { "gradients", "gradients is (1 x 20) Float32 and parameters is (2 x 10) Float32; they must be the same." },
        { "moment gaps", "second moment is (2 x 10) Float32 with row stride 11, but must have no gaps." },
        { "rounded", "rounded parameters is (1 x 20) BFloat16, but must be (2 x 10)." },
        { "rounded type", "rounded parameters is (2 x 10) Int32, but weights are Float32, BFloat16 or Float16." },
        { "factors", "factors is (3 x 1) Float32, but must be (1 x 3)." },
        { "factors type", "factors is (1 x 3) Int32, but must be Float32." },
        { "norm", "gradient norm is (1 x 2) Float32, but must be (1 x 1)." },
    };

    [Fact]
    public void A_number_that_must_be_positive_is_named()
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        MatrixView some = arena.Float32(1, 4);
        AdamWArgs right = Args(Usual, 1) with
        {
            Parameters = some,
            Gradients = some,
            FirstMoment = some,
            SecondMoment = some,
            GradientNorm = arena.Float32(1, 1),
        };
        AssertNamed(right with { Step = 0 }, "step");
        AssertNamed(right with { Factors = arena.Float32(1, 3), GradientScale = -1 }, "gradient scale");
        AssertNamed(right with { GradientScale = 0 }, "gradient scale");
        AssertNamed(right with { MaxGradientNorm = float.NaN }, "largest gradient norm");
        void AssertNamed(AdamWArgs args, string number) => Assert.StartsWith(
            $"AdamW: {number} must be positive.", Assert.Throws<ArgumentOutOfRangeException>(() => backend.AdamW(args)).Message);
    }

    private static float[] Gradients(RandomValues random, Case c)
    {
        float[] gradients = random.Normal(c.Count, 0, c.GradientSize);

        // A parameter that has no gradient is decayed and stays finite.
        gradients[^1] = c.Count > 1 ? 0 : gradients[^1];
        return gradients;
    }

    private static float Norm(float[] gradients) => (float)Math.Sqrt(gradients.Sum(value => (double)value * value));

    private static AdamWArgs Args(AdamWSettings settings, long step) => new()
    {
        LearningRate = settings.LearningRate,
        Beta1 = settings.Beta1,
        Beta2 = settings.Beta2,
        Epsilon = settings.Epsilon,
        WeightDecay = settings.WeightDecay,
        GradientScale = settings.GradientScale,
        MaxGradientNorm = settings.MaxGradientNorm,
        Step = step,
    };

    private sealed record Case(string Name, int RowCount, int Columns, float GradientSize, AdamWSettings Settings, DataType? Rounded)
    {
        public int Count => RowCount * Columns;

        /// <summary>One row may lie anywhere; several have no gaps.</summary>
        public int Gap => RowCount == 1 ? GuardedMatrix.UsualGap : 0;
    }

    /// <summary>Parameters and their moments on a backend, between guard words.</summary>
    private sealed class Optimizer : IDisposable
    {
        private readonly Backend _backend;
        private readonly Case _case;
        private readonly GuardedMatrix _parameters;
        private readonly GuardedMatrix _first;
        private readonly GuardedMatrix _second;
        private readonly GuardedMatrix? _rounded;

        public Optimizer(Backend backend, Case c, float[] initial)
        {
            _backend = backend;
            _case = c;
            _parameters = Output(initial);
            _first = Output(new float[c.Count]);
            _second = Output(new float[c.Count]);
            _rounded = c.Rounded is { } type ? GuardedMatrix.Output(backend, type, c.RowCount, c.Columns, gap: c.Gap) : null;
        }

        public void Step(float[] gradients, float? norm, int step, bool storesFactors = false)
        {
            AdamWArgs args = Args(_case.Settings, step);
            AdamWFactors stored = AdamWFactors.Of(args);
            using GuardedMatrix? factors = storesFactors
                ? GuardedMatrix.Input(
                    _backend, DataType.Float32, 1, AdamWFactors.Count, [stored.Keep, stored.StepSize, stored.RootCorrection], _case.Gap)
                : null;
            args = storesFactors ? args with { Factors = factors!.View, LearningRate = float.NaN, WeightDecay = float.NaN, Step = 0 } : args;
            using GuardedMatrix input = GuardedMatrix.Input(
                _backend, DataType.Float32, _case.RowCount, _case.Columns, gradients, _case.Gap);
            using GuardedMatrix? norms = norm is { } value ? GuardedMatrix.Input(_backend, DataType.Float32, 1, 1, [value]) : null;
            _backend.AdamW(args with
            {
                Parameters = _parameters.View,
                Gradients = input.View,
                FirstMoment = _first.View,
                SecondMoment = _second.View,
                Rounded = _rounded?.View ?? default,
                GradientNorm = norms?.View ?? default,
            });
            input.AssertUnchanged("gradients");
            factors?.AssertUnchanged("factors");
            norms?.AssertUnchanged("gradient norm");
        }

        public float[] Values()
        {
            _parameters.AssertGuardsIntact("parameters");
            _first.AssertGuardsIntact("first moment");
            _second.AssertGuardsIntact("second moment");
            return _parameters.Values();
        }

        public float[] RoundedValues()
        {
            _rounded!.AssertGuardsIntact("rounded parameters");
            return _rounded.Values();
        }

        public void AssertUnchanged()
        {
            _parameters.AssertUnchanged("parameters");
            _first.AssertUnchanged("first moment");
            _second.AssertUnchanged("second moment");
            _rounded?.AssertUnchanged("rounded parameters");
        }

        public void Dispose()
        {
            _parameters.Dispose();
            _first.Dispose();
            _second.Dispose();
            _rounded?.Dispose();
        }

        private GuardedMatrix Output(float[] values) =>
            GuardedMatrix.Output(_backend, DataType.Float32, _case.RowCount, _case.Columns, values, _case.Gap);
    }
}
