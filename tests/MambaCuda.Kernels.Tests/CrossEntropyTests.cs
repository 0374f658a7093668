namespace MambaCuda.Kernels.Tests;

/// <summary>Softmax cross-entropy with z-loss and its gradient, on every backend.</summary>
public class CrossEntropyTests
{
    private const int Ignored = CrossEntropyArgs.IgnoredTarget;

    // Logits that the registers of a block do not hold, but its shared memory.
    private const int LongRow = 16404;

    private static readonly Dictionary<string, Case> Cases = ((IEnumerable<Case>)
    [
        new(1, 1, 1, 0, 1), new(2, 3, 1, 0, 1), new(7, 31, 10, 1e-4f, 0.25f), new(100, 130, 50, 0, 1024), new(7, 257, 1e4f, 0, 1),
        new(100, 33, 1, 0.1f, 1), new(2, 50280, 5, 1e-4f, 1), new(3, 16, 1, 1e-3f, 1e-3f),
        new(11, LongRow, 3, 1e-4f, 0.5f),
    ]).ToDictionary(each => each.ToString());

    public static TheoryData<string, string> Rows => TestBackends.With(nameof(Backend.CrossEntropy), Cases.Keys);

    [Theory, MemberData(nameof(Rows))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string name, string caseName)
    {
        Case c = Cases[caseName];
        using Backend backend = TestBackends.Open(name);
        RandomValues random = new(caseName);
        float[] logits = random.Normal(c.RowCount * c.Vocabulary, 0, c.Deviation);
        int[] targets = [.. random.Integers(c.RowCount, c.Vocabulary).Select((id, row) => row % 5 == 1 ? Ignored : id)];
        (float[] losses, float[] gradient) = Run(backend, logits, targets, c.ZLossWeight, c.GradScale);

        (double[] exactLosses, double[] exact, double[] z) =
            CrossEntropyOracle.Run<double>(logits, targets, c.ZLossWeight, c.GradScale);
        (float[] plainLosses, float[] plain, _) = CrossEntropyOracle.Run<float>(logits, targets, c.ZLossWeight, c.GradScale);

        // What is subtracted: a logarithm of a sum and a logit, which is up to the loss away from it; and the z-loss's square.
        double[] lossSize = [.. z.Select((value, row) => targets[row] == Ignored
            ? 0
            : 1 + (2 * Math.Abs(value)) + Math.Abs(exactLosses[row]) + (3 * c.ZLossWeight * value * value))];
        OutputError lossError = new PlainBound(exactLosses, plainLosses, lossSize, 1).Worst(
            "loss", losses, Enumerable.Repeat(1, c.RowCount));
        Assert.True(lossError.IsWithin, lossError.ToString());

        DataType activation = backend.ActivationType;
        double OneHot(int i) => i % c.Vocabulary == targets[i / c.Vocabulary] ? c.GradScale : 0;
        double[] size = [.. exact.Select((value, i) => Math.Abs(value) + OneHot(i))];
        PlainBound bound = new(exact, StoredValues.Round(plain, activation), size, 1)
        {
            UnitRoundoff = StoredValues.UnitRoundoff(activation),
        };
        OutputError error = bound.Worst("gradient", gradient, Enumerable.Repeat(c.Vocabulary, c.RowCount));
        Assert.True(error.IsWithin, error.ToString());

        foreach (int gap in new[] { 0, GuardedMatrix.AlignedGap })
        {
            (float[] placedLosses, float[] placed) = Run(backend, logits, targets, c.ZLossWeight, c.GradScale, gap);
            Bits.AssertSame(losses, placedLosses, $"losses, gap {gap}");
            Bits.AssertSame(gradient, placed, $"gradient, gap {gap}");
        }
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.CrossEntropy))];

    [Theory, MemberData(nameof(Backends))]
    public void The_gradient_may_be_left_out_or_take_the_place_of_the_logits(string name)
    {
        const int RowCount = 9;
        using Backend backend = TestBackends.Open(name);
        foreach ((int vocabulary, int gap) in new[] { (83, GuardedMatrix.UsualGap), (LongRow, GuardedMatrix.AlignedGap) })
        {
            RandomValues random = new("places");
            float[] logits = random.Normal(RowCount * vocabulary, 0, 3);
            int[] targets = [Ignored, .. random.Integers(RowCount - 1, vocabulary)];
            (float[] losses, float[] gradient) = Run(backend, logits, targets, 1e-3f, 0.5f, gap);
            (float[] alone, _) = Run(backend, logits, targets, 1e-3f, 0.5f, gap, Place.None);
            Bits.AssertSame(losses, alone, "losses alone");
            if (backend.ActivationType == DataType.Float32)
            {
                (float[] inPlaceLosses, float[] inPlace) = Run(backend, logits, targets, 1e-3f, 0.5f, gap, Place.Logits);
                Bits.AssertSame(losses, inPlaceLosses, "losses in place");
                Bits.AssertSame(gradient, inPlace, "gradient in place");
            }
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void Excluded_tokens_and_not_a_number_keep_to_their_rows(string name)
    {
        const float Excluded = float.NegativeInfinity, Infinite = float.PositiveInfinity, NotANumber = float.NaN;
        const int Vocabulary = 9;
        float[] logits =
        [
            1, Excluded, 1, Excluded, Excluded, Excluded, Excluded, Excluded, Excluded,
            0, 1, 2, NotANumber, 4, 5, 6, 7, 1000,
            0, 1, 2, 3, 4, 5, 6, 7, NotANumber,
            0, 1, 2, 3, 4, 5, 6, 7, 1000,
            0, 1, 2, 3, 4, 5, 6, 7, Infinite,
            Infinite, 1, 2, 3, 4, 5, 6, 7, 8,
            .. Enumerable.Repeat(Excluded, Vocabulary),
            .. Enumerable.Repeat(NotANumber, Vocabulary),
        ];
        using Backend backend = TestBackends.Open(name);
        (float[] losses, float[] gradient) = Run(backend, logits, [0, 0, 0, 8, 0, 0, 4, Ignored], 0, 1);
        Assert.Equal(MathF.Log(2), losses[0], 6);
        Assert.Equal([-0.5f, 0, 0.5f, 0, 0, 0, 0, 0, 0], gradient[..Vocabulary]);
        Assert.Equal(0, losses[3], 6);
        Assert.All(gradient[(3 * Vocabulary)..(4 * Vocabulary)], value => Assert.Equal(0, value, 6));
        foreach (int row in new[] { 1, 2, 4, 5, 6 })
        {
            Assert.True(float.IsNaN(losses[row]), $"The loss of row {row} is {losses[row]}.");
            Assert.Contains(gradient[(row * Vocabulary)..((row + 1) * Vocabulary)], float.IsNaN);
        }

        Assert.Equal(0, losses[7]);
        Assert.All(gradient[(7 * Vocabulary)..], value => Assert.Equal(0, value));
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_target_outside_the_vocabulary_is_named(string name)
    {
        foreach ((int vocabulary, int target) in new[]
        {
            (5, -2), (5, 5), (5, int.MaxValue), (5, int.MinValue), (LongRow, -2), (LongRow, LongRow),
        })
        {
            using Backend backend = TestBackends.Open(name);
            using OperandArena arena = new(backend);
            CrossEntropyArgs args = new()
            {
                Logits = arena.Float32(3, vocabulary),
                Targets = arena.Integers(4, target, 0),
                Losses = arena.Float32(3, 1),
                GradLogits = arena.New(backend.ActivationType, 3, vocabulary),
                GradScale = 1,
            };

            TestBackends.AssertOutOfRange(
                backend, () => backend.CrossEntropy(args), target, "row 1 .*the vocabulary");
            if (backend.Name == "cpu")
            {
                float[] losses = new float[3];
                backend.Download(args.Losses, losses.AsSpan());
                Bits.AssertSame(new float[3], losses, "losses");
            }
        }
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        RandomValues random = new("threads");
        float[] logits = random.Normal(50 * 333);
        int[] targets = random.Integers(50, 333);
        using CpuBackend single = new(threads: 1);
        (float[] losses, float[] gradient) = Run(single, logits, targets, 1e-4f, 1);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            (float[] otherLosses, float[] other) = Run(several, logits, targets, 1e-4f, 1);
            Bits.AssertSame(losses, otherLosses, $"losses, {threads} threads");
            Bits.AssertSame(gradient, other, $"gradient, {threads} threads");
        }
    }

    [Theory, InlineData(0), InlineData(0.1f)]
    public void The_oracle_is_the_derivative_of_its_loss(float zLossWeight)
    {
        const float Scale = 0.7f;
        int[] targets = [2, Ignored, 0, 5];
        float[] logits = FiniteDifferences.Exact(new RandomValues("derivative").Normal(targets.Length * 6));
        double[] gradient = CrossEntropyOracle.Run<double>(logits, targets, zLossWeight, Scale).GradLogits;
        FiniteDifferences.AssertGradient(
            "the logits", logits, gradient,
            moved => Scale * CrossEntropyOracle.Run<double>(moved, targets, zLossWeight, 1).Losses.Sum());
        Assert.All(gradient[6..12], value => Assert.Equal(0, value));
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        CrossEntropyArgs right = new()
        {
            Logits = arena.Float32(3, 5),
            Targets = arena.Integers(0, 1, Ignored),
            Losses = arena.Float32(3, 1),
            GradLogits = arena.Float32(3, 5),
            GradScale = 1,
        };
        backend.CrossEntropy(right);
        CrossEntropyArgs args = wrong switch
        {
            "no logits" => right with { Logits = default },
            "no targets" => right with { Targets = default },
            "no losses" => right with { Losses = default },
            "logits type" => right with { Logits = arena.New(DataType.BFloat16, 3, 5) },
            "targets type" => right with { Targets = arena.Float32(3, 1) },
            "targets rows" => right with { Targets = arena.Integers(1, 2) },
            "losses columns" => right with { Losses = arena.Float32(3, 2) },
            "losses type" => right with { Losses = arena.New(DataType.Float64, 3, 1) },
            "gradient columns" => right with { GradLogits = arena.Float32(3, 4) },
            _ => right with { GradLogits = arena.New(DataType.BFloat16, 3, 5) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.CrossEntropy(args));
        Assert.Equal("CrossEntropy: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no logits", "logits is missing." },
        { "no targets", "targets is missing." },
        { "no losses", "losses is missing." },
        { "logits type", "logits is (3 x 5) BFloat16, but must be Float32." },
        { "targets type", "targets is (3 x 1) Float32, but must be Int32." },
        { "targets rows", "targets is (2 x 1) Int32, but must be (3 x 1)." },
        { "losses columns", "losses is (3 x 2) Float32, but must be (3 x 1)." },
        { "losses type", "losses is (3 x 1) Float64, but must be Float32." },
        { "gradient columns", "gradient of the logits is (3 x 4) Float32, but must be (3 x 5)." },
        { "gradient type", "gradient of the logits is (3 x 5) BFloat16, but must be Float32." },
    };

    private static (float[] Losses, float[] Gradient) Run(
        Backend backend, float[] logits, int[] targets, float zLossWeight, float gradScale, int gap = GuardedMatrix.UsualGap,
        Place place = Place.Own)
    {
        int rows = targets.Length, vocabulary = logits.Length / rows;
        using GuardedMatrix input = place == Place.Logits
            ? GuardedMatrix.Output(backend, DataType.Float32, rows, vocabulary, logits, gap)
            : GuardedMatrix.Input(backend, DataType.Float32, rows, vocabulary, logits, gap);
        using GuardedMatrix ids = GuardedMatrix.Input(backend, rows, 1, targets);
        using GuardedMatrix losses = GuardedMatrix.Output(backend, DataType.Float32, rows, 1);
        using GuardedMatrix own = GuardedMatrix.Output(backend, backend.ActivationType, rows, vocabulary, gap: gap);
        GuardedMatrix gradient = place == Place.Logits ? input : own;
        backend.CrossEntropy(new CrossEntropyArgs
        {
            Logits = input.View,
            Targets = ids.View,
            ZLossWeight = zLossWeight,
            GradScale = gradScale,
            Losses = losses.View,
            GradLogits = place == Place.None ? default : gradient.View,
        });
        if (place != Place.Logits)
        {
            input.AssertUnchanged("logits");
        }

        ids.AssertUnchanged("targets");
        losses.AssertGuardsIntact("losses");
        gradient.AssertGuardsIntact("gradient of the logits");
        return (losses.Values(), gradient.Values());
    }

    /// <summary>Where the gradient is put.</summary>
    private enum Place
    {
        Own,
        Logits,
        None,
    }

    private sealed record Case(int RowCount, int Vocabulary, float Deviation, float ZLossWeight, float GradScale)
    {
        public override string ToString() => FormattableString.Invariant(
            $"{RowCount} x {Vocabulary}, size {Deviation}, z-loss {ZLossWeight}, scale {GradScale}");
    }
}
