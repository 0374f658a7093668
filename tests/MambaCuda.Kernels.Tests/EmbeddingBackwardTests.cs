namespace MambaCuda.Kernels.Tests;

/// <summary>The gradient of the embedding table, on every backend.</summary>
public class EmbeddingBackwardTests
{
    private const int Vocabulary = 29;

    private static readonly Dictionary<string, (int Tokens, int Channels, int Ids)> Cases = (
        // Up to more than a block of CUDA looks through at once.
        from tokens in new[] { 1, 2, 7, 100, 1000, 5000 }
        from channels in new[] { 1, 3, 31, 130, 257, 520 }

        // Every id, or three of them again and again.
        from ids in new[] { Vocabulary, 3 }
        select (tokens, channels, ids)).ToDictionary(each => $"{each.tokens} x {each.channels} of {each.ids}");

    public static TheoryData<string, string> Rows => TestBackends.With(nameof(Backend.EmbeddingBackward), Cases.Keys);

    [Theory, MemberData(nameof(Rows))]
    public void Rows_are_added_in_the_order_of_the_tokens(string name, string caseName)
    {
        (int tokens, int channels, int idCount) = Cases[caseName];
        using Backend backend = TestBackends.Open(name);
        RandomValues random = new(caseName);
        int[] ids = random.Integers(tokens, idCount);
        float[] gradOutput = random.Normal(tokens * channels), before = random.Normal(Vocabulary * channels);
        float[] actual = Run(backend, ids, gradOutput, before);
        float[] plain = EmbeddingBackwardOracle.Run<float>(ids, gradOutput, before);
        Bits.AssertSame(plain, actual, "gradient");
        Bits.AssertSame(actual, Run(backend, ids, gradOutput, before, gap: 0), "without gaps");
        Bits.AssertSame(actual, Run(backend, ids, gradOutput, before, GuardedMatrix.AlignedGap), "aligned");
    }

    public static TheoryData<string> Backends => [.. TestBackends.NamesWith(nameof(Backend.EmbeddingBackward))];

    [Theory, MemberData(nameof(Backends))]
    public void Rows_of_other_ids_are_left_alone(string name)
    {
        const int Channels = 37;
        using Backend backend = TestBackends.Open(name);
        float[] before = new RandomValues(name).Normal(Vocabulary * Channels);
        before.AsSpan(5 * Channels, Channels).Fill(float.NaN);
        float[] gradOutput = [.. Enumerable.Repeat(1f, 3 * Channels)];
        float[] after = Run(backend, [0, Vocabulary - 1, 0], gradOutput, before);
        Bits.AssertSame(before[Channels..^Channels], after[Channels..^Channels], "other rows");
        Assert.All(Enumerable.Range(0, Channels), c => Assert.Equal(before[c] + 2, after[c], 1e-6f));
    }

    [Theory, MemberData(nameof(Backends))]
    public void Of_a_large_table_only_the_rows_of_tokens_change(string name)
    {
        // So many rows that a block of CUDA owns several.
        const int RowCount = 3001, Channels = 8;
        using Backend backend = TestBackends.Open(name);
        RandomValues random = new("large");
        int[] ids = [RowCount - 1, 0, RowCount - 1, .. random.Integers(400, RowCount), 1, 2, 1, 2, 0];
        float[] gradOutput = random.Normal(ids.Length * Channels), before = random.Normal(RowCount * Channels);
        Bits.AssertSame(
            EmbeddingBackwardOracle.Run<float>(ids, gradOutput, before), Run(backend, ids, gradOutput, before, gap: 0), "gradient");
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_token_outside_the_vocabulary_is_named(string name)
    {
        foreach (int id in new[] { -1, 10, int.MaxValue, int.MinValue })
        {
            using Backend backend = TestBackends.Open(name);
            using OperandArena arena = new(backend);
            MatrixView ones = arena.Float32(3, 4);
            backend.Upload<float>([.. Enumerable.Repeat(1f, 12)], ones);
            EmbeddingBackwardArgs args = new()
            {
                TokenIds = arena.Integers(3, 9, id),
                GradOutput = ones,
                GradWeight = arena.Float32(10, 4),
            };

            TestBackends.AssertOutOfRange(
                backend, () => backend.EmbeddingBackward(args), id, "Token 2 .*is not in the vocabulary");
            if (backend.Name == "cpu")
            {
                float[] after = new float[40];
                backend.Download(args.GradWeight, after.AsSpan());
                Bits.AssertSame(new float[40], after, "gradient");
            }
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void No_tokens_are_no_work(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using OperandArena arena = new(backend);
        backend.EmbeddingBackward(new EmbeddingBackwardArgs
        {
            TokenIds = arena.New(DataType.Int32, 0, 1),
            GradOutput = arena.Float32(0, 4),
            GradWeight = arena.Float32(10, 4),
        });
        backend.Synchronize();
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        const int Tokens = 500, Channels = 333;
        RandomValues random = new("threads");
        int[] ids = random.Integers(Tokens, 5);
        float[] gradOutput = random.Normal(Tokens * Channels), before = random.Normal(Vocabulary * Channels);
        using CpuBackend single = new(threads: 1);
        float[] expected = Run(single, ids, gradOutput, before);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame(expected, Run(several, ids, gradOutput, before), $"{threads} threads");
        }
    }

    [Fact]
    public void The_oracle_is_the_derivative_of_the_forward_oracle()
    {
        const int Channels = 3;
        RandomValues random = new("derivative");
        int[] ids = [1, 3, 1, 0, 1];
        float[] table = FiniteDifferences.Exact(random.Normal(4 * Channels)), gradOutput = random.Normal(ids.Length * Channels);
        FiniteDifferences.AssertGradient(
            "the table", table, EmbeddingBackwardOracle.Run<double>(ids, gradOutput, new float[table.Length]),
            moved => RowOracle.Run(moved, Channels, ids).Zip(gradOutput, (y, g) => (double)y * g).Sum());
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        EmbeddingBackwardArgs right = new()
        {
            TokenIds = arena.Integers(0, 1, 2),
            GradOutput = arena.Float32(3, 4),
            GradWeight = arena.Float32(10, 4),
        };
        backend.EmbeddingBackward(right);
        EmbeddingBackwardArgs args = wrong switch
        {
            "no token ids" => right with { TokenIds = default },
            "no gradient of the output" => right with { GradOutput = default },
            "no gradient of the weight" => right with { GradWeight = default },
            "token ids type" => right with { TokenIds = arena.Float32(3, 1) },
            "token ids rows" => right with { TokenIds = arena.Integers(1, 2) },
            "gradient of the output columns" => right with { GradOutput = arena.Float32(3, 5) },
            "gradient of the output type" => right with { GradOutput = arena.New(DataType.BFloat16, 3, 4) },
            _ => right with { GradWeight = arena.New(DataType.BFloat16, 10, 4) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.EmbeddingBackward(args));
        Assert.Equal("EmbeddingBackward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no token ids", "token ids is missing." },
        { "no gradient of the output", "gradient of the output is missing." },
        { "no gradient of the weight", "gradient of the weight is missing." },
        { "token ids type", "token ids is (3 x 1) Float32, but must be Int32." },
        { "token ids rows", "token ids is (2 x 1) Int32, but must be (3 x 1)." },
        { "gradient of the output columns", "gradient of the output is (3 x 5) Float32, but must be (3 x 4)." },
        { "gradient of the output type", "gradient of the output is (3 x 4) BFloat16, but must be Float32." },
        { "gradient of the weight type", "gradient of the weight is (10 x 4) BFloat16, but must be Float32." },
    };

    private static float[] Run(Backend backend, int[] ids, float[] gradOutput, float[] gradWeight, int gap = GuardedMatrix.UsualGap)
    {
        int channels = gradOutput.Length / ids.Length;
        using GuardedMatrix tokens = GuardedMatrix.Input(backend, ids.Length, 1, ids, gap);
        using GuardedMatrix output = GuardedMatrix.Input(backend, DataType.Float32, ids.Length, channels, gradOutput, gap);
        using GuardedMatrix weight = GuardedMatrix.Output(
            backend, DataType.Float32, gradWeight.Length / channels, channels, gradWeight, gap);
        backend.EmbeddingBackward(
            new EmbeddingBackwardArgs { TokenIds = tokens.View, GradOutput = output.View, GradWeight = weight.View });
        tokens.AssertUnchanged("token ids");
        output.AssertUnchanged("gradient of the output");
        weight.AssertGuardsIntact("gradient of the weight");
        return weight.Values();
    }
}
