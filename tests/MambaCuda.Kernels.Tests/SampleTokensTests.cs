namespace MambaCuda.Kernels.Tests;

/// <summary>
/// Tokens against the probabilities that they should have: each draw against its own random number, and many against the distribution. On
/// CUDA with one type of activations, since none is read.
/// </summary>
public class SampleTokensTests
{
    private static readonly float[] Temperatures = [1, 0, 0.3f, 1.7f];
    private static readonly int[] TopKs = [0, 1, 5, 40, 100_000];
    private static readonly float[] TopPs = [1, 0.9f, 0.4f, 1e-6f];
    private static readonly float[] MinPs = [0, 0.05f, 1];

    public static TheoryData<string> Backends => ["cpu", "cuda-float32"];

    public static TheoryData<string, int, bool> Vocabularies
    {
        get
        {
            TheoryData<string, int, bool> data = [];
            foreach (string backend in Backends.Select(row => row.Data))
            {
                foreach (int vocabulary in new[] { 1, 2, 31, 33, 1000, 1025, 50_280 })
                {
                    data.Add(backend, vocabulary, false);
                    data.Add(backend, vocabulary, true);
                }
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Vocabularies))]
    public void A_draw_is_the_token_in_which_its_random_number_lies(string name, int vocabulary, bool withTies)
    {
        using Backend backend = TestBackends.Open(name);
        Batch batch = new(vocabulary, withTies);
        Result result = Run(backend, batch);
        for (int row = 0; row < batch.Rows; row++)
        {
            int chosen = result.TokenIds[row];
            string which = $"Row {row} ({batch.Options[row]}): token {chosen}";
            Assert.True(chosen >= 0 && chosen < vocabulary, which);
            double[] probabilities = SampleTokensOracle.Run(batch.LogitsOf(row), batch.CountsOf(row), batch.Options[row]);
            Assert.True(probabilities[chosen] > 0, $"{which} was filtered out.");

            // Rounding may move a border between two tokens, and random numbers may lie that near to one.
            const double Tolerance = 2e-6;
            RandomStream random = new(batch.States.AsSpan(row * RandomStream.StateLength, RandomStream.StateLength));
            bool draws = batch.Options[row].Temperature != 0;
            double drawn = draws ? random.NextDouble() : 0.5;
            double before = probabilities.Take(chosen).Sum();
            Assert.True(
                before - Tolerance <= drawn && drawn <= before + probabilities[chosen] + Tolerance,
                $"{which} lies in [{before:R}, {before + probabilities[chosen]:R}], the random number is {drawn:R}.");

            long[] state = new long[RandomStream.StateLength];
            random.CopyStateTo(state);
            Assert.Equal(state, result.States.AsSpan(row * state.Length, state.Length).ToArray());
            int[] counts = batch.CountsOf(row).ToArray();
            counts[chosen]++;
            Assert.Equal(counts, result.Counts.AsSpan(row * vocabulary, vocabulary).ToArray());
        }

        double[] exact = LogProbabilitiesOracle.Run<double>(batch.Logits, result.TokenIds);
        for (int row = 0; row < batch.Rows; row++)
        {
            double difference = Math.Abs(result.LogProbabilities[row] - exact[row]);
            Assert.True(
                difference <= 2e-6 * (1 + Math.Abs(exact[row])), $"Row {row}: {result.LogProbabilities[row]:R} instead of {exact[row]:R}.");
        }

        Result again = Run(backend, batch);
        Assert.Equal(result.TokenIds, again.TokenIds);
        Bits.AssertSame(result.LogProbabilities, again.LogProbabilities, "log-probabilities, again");
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
            Batch batch = new(Draws, logits, seen, options);
            int[] tokens = Run(backend, batch).TokenIds;
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
            Batch batch = new(30, logits, new int[70], new TokenSampling { Temperature = temperature, TopK = 50, TopP = 0.999f });
            Assert.All(Run(backend, batch).TokenIds, token => Assert.True(temperature == 0 ? token == 3 : token % 7 == 3, $"{token}"));
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void Of_equal_tokens_the_lower_ids_are_kept(string name)
    {
        using Backend backend = TestBackends.Open(name);

        // Each filter ends among equals, in another warp's part than they begin in; zeros are equal whatever their sign.
        float[] logits = [.. Enumerable.Range(0, 200).Select(id => id % 2 == 0 ? -0.0f : 0.0f)];
        void Keeps(IEnumerable<int> kept, TokenSampling options) =>
            Assert.Equal(kept, Run(backend, new Batch(2000, logits, new int[200], options)).TokenIds.Distinct().Order());
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
        Batch batch = new(1000, withTies: false);
        Result expected = Run(backend, batch with { Counts = new int[batch.Counts.Length] });
        Result actual = Run(backend, batch, withCounts: false);
        Assert.Equal(expected.TokenIds, actual.TokenIds);
    }

    [Theory, MemberData(nameof(Backends))]
    public void Damaged_logits_are_named(string name)
    {
        using Backend backend = TestBackends.Open(name);
        string Message(Action<float[]> damage)
        {
            Batch batch = new(5, [.. Enumerable.Range(0, 40).Select(id => (float)id)], new int[40], new TokenSampling());
            damage(batch.Logits);

            // A card tells when it is next waited for.
            return Assert.Throws<ArithmeticException>(() => Run(backend, batch)).Message;
        }

        string one = Message(logits => logits[(2 * 40) + 39] = float.NaN);
        Assert.Contains("token 39 in row 2 is NaN or infinite", one, StringComparison.Ordinal);
        string two = Message(logits => (logits[(3 * 40) + 33], logits[(3 * 40) + 34]) = (float.PositiveInfinity, float.NaN));
        Assert.Contains("token 33 in row 3 is NaN or infinite", two, StringComparison.Ordinal);
        string none = Message(logits => logits.AsSpan(4 * 40, 40).Fill(float.NegativeInfinity));
        Assert.Contains("All logits of row 4 are minus infinity", none, StringComparison.Ordinal);
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

    private static Result Run(Backend backend, Batch batch, bool withCounts = true)
    {
        int rows = batch.Rows, vocabulary = batch.Vocabulary;
        float[] options = new float[rows * TokenSampling.Columns];
        for (int row = 0; row < rows; row++)
        {
            batch.Options[row].CopyTo(options.AsSpan(row * TokenSampling.Columns, TokenSampling.Columns));
        }

        using GuardedMatrix logits = GuardedMatrix.Input(backend, DataType.Float32, rows, vocabulary, batch.Logits);
        using GuardedMatrix columns = GuardedMatrix.Input(backend, DataType.Float32, rows, TokenSampling.Columns, options);
        using GuardedMatrix counts = GuardedMatrix.Output(backend, DataType.Int32, rows, vocabulary, batch.Counts);
        using GuardedMatrix states = GuardedMatrix.Output(backend, DataType.Int64, rows, RandomStream.StateLength, batch.States);
        using GuardedMatrix tokens = GuardedMatrix.Output<int>(backend, DataType.Int32, rows, 1, null);
        using GuardedMatrix logProbabilities = GuardedMatrix.Output(backend, DataType.Float32, rows, 1);
        backend.SampleTokens(new SampleTokensArgs
        {
            Logits = logits.View,
            Options = columns.View,
            Counts = withCounts ? counts.View : default,
            RandomStates = states.View,
            TokenIds = tokens.View,
            LogProbabilities = logProbabilities.View,
        });
        logits.AssertUnchanged("logits");
        columns.AssertUnchanged("options");
        counts.AssertGuardsIntact("counts");
        states.AssertGuardsIntact("random states");
        tokens.AssertGuardsIntact("token ids");
        logProbabilities.AssertGuardsIntact("log-probabilities");
        return new Result(tokens.Values<int>(), logProbabilities.Values(), counts.Values<int>(), states.Values<long>());
    }

    private sealed record Result(int[] TokenIds, float[] LogProbabilities, int[] Counts, long[] States);

    /// <summary>Rows that each have options of their own.</summary>
    private sealed record Batch
    {
        /// <summary>All pairs of options; with ties, logits are multiples of a half.</summary>
        public Batch(int vocabulary, bool withTies)
        {
            Options =
            [
                .. from row in AllPairs.Rows(Temperatures.Length, TopKs.Length, TopPs.Length, MinPs.Length, 2, 2, 2)
                   select new TokenSampling
                   {
                       Temperature = Temperatures[row[0]],
                       TopK = TopKs[row[1]],
                       TopP = TopPs[row[2]],
                       MinP = MinPs[row[3]],
                       RepetitionPenalty = row[4] == 1 ? 1.3f : 1,
                       PresencePenalty = row[5] == 1 ? 0.5f : 0,
                       FrequencyPenalty = row[6] == 1 ? -0.25f : 0,
                   },
            ];
            RandomValues random = new($"{vocabulary} {withTies}");
            float[] logits = random.Normal(Rows * vocabulary, 0, 2);
            Logits = withTies ? [.. logits.Select(value => MathF.Round(2 * value) / 2)] : logits;
            Counts = [.. random.Integers(Rows * vocabulary, 8).Select(count => Math.Max(0, count - 5))];
            States = StatesOf(Rows);
        }

        /// <summary>The same row many times, each with a random number of its own.</summary>
        public Batch(int rows, float[] logits, int[] counts, TokenSampling options)
        {
            Options = [.. Enumerable.Repeat(options, rows)];
            Logits = [.. Enumerable.Repeat(logits, rows).SelectMany(row => row)];
            Counts = [.. Enumerable.Repeat(counts, rows).SelectMany(row => row)];
            States = StatesOf(rows);
        }

        public TokenSampling[] Options { get; }

        public float[] Logits { get; }

        public int[] Counts { get; init; }

        public long[] States { get; }

        public int Rows => Options.Length;

        public int Vocabulary => Logits.Length / Rows;

        public ReadOnlySpan<float> LogitsOf(int row) => Logits.AsSpan(row * Vocabulary, Vocabulary);

        public ReadOnlySpan<int> CountsOf(int row) => Counts.AsSpan(row * Vocabulary, Vocabulary);

        private static long[] StatesOf(int rows)
        {
            long[] states = new long[rows * RandomStream.StateLength];
            for (int row = 0; row < rows; row++)
            {
                new RandomStream((ulong)row).CopyStateTo(states.AsSpan(row * RandomStream.StateLength, RandomStream.StateLength));
            }

            return states;
        }
    }
}
