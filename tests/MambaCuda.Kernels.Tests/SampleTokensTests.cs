namespace MambaCuda.Kernels.Tests;

/// <summary>
/// Tokens against the probabilities that they should have: each draw against its own random number, and many against the distribution. On
/// CUDA with one type of activations, since none is read.
/// </summary>
public class SampleTokensTests
{
    public static TheoryData<string> Backends => ["cpu", "cuda-float32"];

    public static TheoryData<string, string> Cases => new MatrixTheoryData<string, string>(
        Backends.Select(row => row.Data), SampleTokensCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void A_draw_is_the_token_in_which_its_random_number_lies(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        SampleTokensInputs inputs = SampleTokensCase.Named(name).Inputs();
        SampledTokens actual = SampleTokensRunner.Run(backend, inputs);
        Within.AssertAll(SampleTokensValidation.Compare(inputs, actual));

        SampledTokens again = SampleTokensRunner.Run(backend, inputs);
        Assert.Equal(actual.TokenIds, again.TokenIds);
        Bits.AssertSame(actual.LogProbabilities, again.LogProbabilities, "log-probabilities, again");
    }

    [Theory, MemberData(nameof(Backends))]
    public void Draws_follow_the_distribution(string name)
    {
        const int Draws = 4000;
        float[] logits = [1.0f, 3.0f, 2.0f, -1.0f, 3.0f, 0.5f];
        int[] seen = [0, 2, 0, 1, 0, 0];
        using Backend backend = TestBackends.Open(name);
        foreach (TokenSampling options in new TokenSampling[]
        {
            new(),
            new() { Temperature = 0.6f },
            new() { TopK = 3 },
            new() { TopP = 0.8f },
            new() { MinP = 0.2f },
            new()
            {
                Temperature = 1.4f,
                TopK = 5,
                TopP = 0.9f,
                MinP = 0.1f,
                RepetitionPenalty = 1.2f,
                PresencePenalty = 0.3f,
                FrequencyPenalty = 0.2f,
            },
        })
        {
            int[] tokens = SampleTokensRunner.Run(backend, SampleTokensInputs.Repeat(Draws, logits, seen, options)).TokenIds;
            double[] expected = SampleTokensOracle.Run(logits, seen, options);
            double chiSquared = 0;
            for (int id = 0; id < logits.Length; id++)
            {
                int count = tokens.Count(token => token == id);
                Assert.True(expected[id] > 0 || count == 0, $"{options}: token {id} was filtered out, but drawn {count} times.");
                chiSquared += expected[id] > 0 ? Math.Pow(count - (Draws * expected[id]), 2) / (Draws * expected[id]) : 0;
            }

            // 99.99 % of chi-squared with 5 degrees of freedom.
            Assert.True(chiSquared <= 25.7, $"{options}: chi-squared {chiSquared:f1}.");
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void Excluded_tokens_are_never_chosen(string name)
    {
        using Backend backend = TestBackends.Open(name);
        float[] logits = [.. Enumerable.Range(0, 70).Select(id => id % 7 == 3 ? -0.0f : float.NegativeInfinity)];
        foreach (float temperature in new[] { 0, 1f, 1e-30f })
        {
            TokenSampling options = new() { Temperature = temperature, TopK = 50, TopP = 0.999f };
            int[] tokens = SampleTokensRunner.Run(backend, SampleTokensInputs.Repeat(30, logits, new int[70], options)).TokenIds;
            Assert.All(tokens, token => Assert.True(temperature == 0 ? token == 3 : token % 7 == 3, $"{token}"));
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void Of_equal_tokens_the_lower_ids_are_kept(string name)
    {
        using Backend backend = TestBackends.Open(name);

        // Each filter ends among equals, in another warp's part than they begin in; zeros are equal whatever their sign.
        float[] logits = [.. Enumerable.Range(0, 200).Select(id => id % 2 == 0 ? -0.0f : 0.0f)];
        void Keeps(IEnumerable<int> kept, TokenSampling options)
        {
            SampleTokensInputs inputs = SampleTokensInputs.Repeat(2000, logits, new int[200], options);
            Assert.Equal(kept, SampleTokensRunner.Run(backend, inputs).TokenIds.Distinct().Order());
        }

        void KeepsTheFirst(int kept, TokenSampling options) => Keeps(Enumerable.Range(0, kept), options);

        KeepsTheFirst(1, new TokenSampling { Temperature = 0 });
        KeepsTheFirst(77, new TokenSampling { TopK = 77 });
        KeepsTheFirst(50, new TokenSampling { TopP = 0.25f });
        KeepsTheFirst(50, new TokenSampling { TopK = 100, TopP = 0.5f });
        KeepsTheFirst(50, new TokenSampling { TopK = 100, TopP = 0.5f, MinP = 1 });
        KeepsTheFirst(200, new TokenSampling { MinP = 1 });

        // Ten that are eight times as probable, and the equals after them: top-k leaves 22.5 times the largest; 49.5 equals reach 16.19.
        logits.AsSpan(190).Fill(MathF.Log(8));
        int[] some = [.. Enumerable.Range(0, 50), .. Enumerable.Range(190, 10)];
        Keeps(some, new TokenSampling { TopK = 60 });
        Keeps(some, new TokenSampling { TopK = 110, TopP = 16.1875f / 22.5f });
    }

    [Theory, MemberData(nameof(Backends))]
    public void Without_counts_nothing_is_penalized(string name)
    {
        using Backend backend = TestBackends.Open(name);
        SampleTokensInputs inputs = SampleTokensCase.All.First(row => row.Vocabulary == 1000).Inputs();
        SampledTokens expected = SampleTokensRunner.Run(backend, inputs with { Counts = new int[inputs.Counts.Length] });
        SampledTokens actual = SampleTokensRunner.Run(backend, inputs with { AreCounted = false });
        Assert.Equal(expected.TokenIds, actual.TokenIds);
    }

    [Theory, MemberData(nameof(Backends))]
    public void Damaged_logits_are_named(string name)
    {
        using Backend backend = TestBackends.Open(name);
        string Message(Action<float[]> damage)
        {
            float[] logits = [.. Enumerable.Range(0, 40).Select(id => (float)id)];
            SampleTokensInputs inputs = SampleTokensInputs.Repeat(5, logits, new int[40], new TokenSampling());
            damage(inputs.Logits);

            // A card tells when it is next waited for.
            return Assert.Throws<ArithmeticException>(() => SampleTokensRunner.Run(backend, inputs)).Message;
        }

        string one = Message(logits => logits[(2 * 40) + 39] = float.NaN);
        Assert.Contains("token 39 in row 2 is NaN or infinite", one, StringComparison.Ordinal);
        string two = Message(logits => (logits[(3 * 40) + 33], logits[(3 * 40) + 34]) = (float.PositiveInfinity, float.NaN));
        Assert.Contains("token 33 in row 3 is NaN or infinite", two, StringComparison.Ordinal);
        string none = Message(logits => logits.AsSpan(4 * 40, 40).Fill(float.NegativeInfinity));
        Assert.Contains("All logits of row 4 are minus infinity", none, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Backends))]
    public void Options_without_meaning_choose_some_token(string name)
    {
        using Backend backend = TestBackends.Open(name);
        float[] logits = [.. Enumerable.Range(0, 200).Select(id => id - 100f)];
        int[] seen = [.. Enumerable.Repeat(1, 200)];
        foreach (TokenSampling options in new TokenSampling[]
        {
            new() { Temperature = float.NaN },
            new() { Temperature = -1 },
            new() { TopK = -5, TopP = -1 },
            new() { TopP = float.NaN, MinP = float.NaN },
            new() { TopK = 3, TopP = 0.5f, MinP = 7 },
            new() { RepetitionPenalty = 0 },
            new() { PresencePenalty = float.NaN },
            new() { FrequencyPenalty = float.PositiveInfinity, TopK = 4 },
        })
        {
            int[] tokens = SampleTokensRunner.Run(backend, SampleTokensInputs.Repeat(20, logits, seen, options)).TokenIds;
            Assert.All(tokens, token => Assert.InRange(token, 0, logits.Length - 1));
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void No_rows_are_no_work(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using OperandArena arena = new(backend);
        backend.SampleTokens(Right(arena, 0));
        backend.Synchronize();
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        SampleTokensArgs right = Right(arena, 3);
        backend.SampleTokens(right);
        SampleTokensArgs args = wrong switch
        {
            "no logits" => right with { Logits = default },
            "no options" => right with { Options = default },
            "no states" => right with { RandomStates = default },
            "no token ids" => right with { TokenIds = default },
            "no log-probabilities" => right with { LogProbabilities = default },
            "no vocabulary" => right with { Logits = arena.Float32(3, 0) },
            "logits type" => right with { Logits = arena.New(DataType.BFloat16, 3, 5) },
            "options columns" => right with { Options = arena.Float32(3, 6) },
            "counts rows" => right with { Counts = arena.New(DataType.Int32, 2, 5) },
            "counts type" => right with { Counts = arena.Float32(3, 5) },
            "states type" => right with { RandomStates = arena.New(DataType.Int32, 3, 4) },
            "states columns" => right with { RandomStates = arena.New(DataType.Int64, 3, 3) },
            "token ids rows" => right with { TokenIds = arena.Integers(0) },
            _ => right with { LogProbabilities = arena.New(DataType.Float64, 3, 1) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.SampleTokens(args));
        Assert.Equal("SampleTokens: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no logits", "logits is missing." },
        { "no options", "options is missing." },
        { "no states", "random states is missing." },
        { "no token ids", "token ids is missing." },
        { "no log-probabilities", "log-probabilities is missing." },
        { "no vocabulary", "logits is (3 x 0) Float32, but a vocabulary has at least one token." },
        { "logits type", "logits is (3 x 5) BFloat16, but must be Float32." },
        { "options columns", "options is (3 x 6) Float32, but must be (3 x 7)." },
        { "counts rows", "counts is (2 x 5) Int32, but must be (3 x 5)." },
        { "counts type", "counts is (3 x 5) Float32, but must be Int32." },
        { "states type", "random states is (3 x 4) Int32, but must be Int64." },
        { "states columns", "random states is (3 x 3) Int64, but must be (3 x 4)." },
        { "token ids rows", "token ids is (1 x 1) Int32, but must be (3 x 1)." },
        { "log-probabilities type", "log-probabilities is (3 x 1) Float64, but must be Float32." },
    };

    private static SampleTokensArgs Right(OperandArena arena, int rows) => new()
    {
        Logits = arena.Float32(rows, 5),
        Options = arena.Float32(rows, TokenSampling.Columns),
        Counts = arena.New(DataType.Int32, rows, 5),
        RandomStates = arena.New(DataType.Int64, rows, RandomStream.StateLength),
        TokenIds = arena.New(DataType.Int32, rows, 1),
        LogProbabilities = arena.Float32(rows, 1),
    };
}
