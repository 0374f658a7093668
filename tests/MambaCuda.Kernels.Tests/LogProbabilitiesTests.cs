namespace MambaCuda.Kernels.Tests;

/// <summary>log softmax of one token a row, on every backend.</summary>
public class LogProbabilitiesTests
{
    public static TheoryData<string> Backends => TestBackends.Rows;

    public static TheoryData<string, string> Cases => TestBackends.WithEvery(LogProbabilitiesCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (float[] logits, int[] tokens) = LogProbabilitiesCase.Named(name).Inputs();
        float[] actual = LogProbabilitiesRunner.Run(backend, logits, tokens);
        Within.AssertAll(LogProbabilitiesValidation.Compare(logits, tokens, actual));
        Bits.AssertSame(actual, LogProbabilitiesRunner.Run(backend, logits, tokens, GuardedMatrix.AlignedGap), "aligned");
    }

    [Fact]
    public void Probabilities_of_all_tokens_sum_to_one()
    {
        const int Vocabulary = 100;
        using CpuBackend backend = new(threads: 2);
        float[] row = new RandomValues("sum").Normal(Vocabulary, 500, 3);
        float[] rows = [.. Enumerable.Repeat(row, Vocabulary).SelectMany(values => values)];
        float[] all = LogProbabilitiesRunner.Run(backend, rows, [.. Enumerable.Range(0, Vocabulary)]);
        Assert.Equal(1, all.Sum(value => Math.Exp(value)), 5);
    }

    [Theory, MemberData(nameof(Backends))]
    public void Excluded_tokens_and_not_a_number_keep_to_their_rows(string name)
    {
        const float Excluded = float.NegativeInfinity;
        float[] logits =
        [
            1, Excluded, 1, Excluded, Excluded, Excluded, Excluded, Excluded, Excluded,
            1, Excluded, 1, Excluded, Excluded, Excluded, Excluded, Excluded, Excluded,
            0, 1, 2, float.NaN, 4, 5, 6, 7, 1000,
            0, 1, 2, 3, 4, 5, 6, 7, float.NaN,
            0, 1, 2, 3, 4, 5, 6, 7, 1000,
            0, 1, 2, 3, 4, 5, 6, 7, float.PositiveInfinity,
            .. Enumerable.Repeat(Excluded, 9),
        ];
        using Backend backend = TestBackends.Open(name);
        float[] actual = LogProbabilitiesRunner.Run(backend, logits, [0, 1, 0, 0, 8, 0, 4]);
        Assert.Equal(-MathF.Log(2), actual[0], 6);
        Assert.Equal(float.NegativeInfinity, actual[1]);
        Assert.True(float.IsNaN(actual[2]));
        Assert.True(float.IsNaN(actual[3]));
        Assert.Equal(0, actual[4]);
        Assert.True(float.IsNaN(actual[5]));
        Assert.True(float.IsNaN(actual[6]));
    }

    [Fact]
    public void Does_not_depend_on_the_number_of_threads()
    {
        RandomValues random = new("threads");
        float[] logits = random.Normal(50 * 333);
        int[] ids = random.Integers(50, 333);
        using CpuBackend single = new(threads: 1);
        float[] expected = LogProbabilitiesRunner.Run(single, logits, ids);
        foreach (int threads in new[] { 2, 3 })
        {
            using CpuBackend several = new(threads);
            Bits.AssertSame(expected, LogProbabilitiesRunner.Run(several, logits, ids), $"{threads} threads");
        }
    }

    [Fact]
    public void More_rows_than_a_pool_has_parts_are_judged()
    {
        const int Rows = (1 << 20) + 3;
        using CpuBackend backend = new(threads: 2);
        using OperandArena arena = new(backend);
        MatrixView output = arena.Float32(Rows, 1);
        backend.LogProbabilities(new LogProbabilitiesArgs
        {
            Logits = arena.Float32(Rows, 2),
            TokenIds = arena.New(DataType.Int32, Rows, 1),
            Output = output,
        });
        float[] actual = new float[Rows];
        backend.Download(output, actual.AsSpan());
        Assert.All([actual[0], actual[Rows / 2], actual[^1]], value => Assert.Equal(-MathF.Log(2), value, 6));
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_token_outside_the_vocabulary_is_named(string name)
    {
        foreach (int id in new[] { -1, 5, int.MaxValue })
        {
            using Backend backend = TestBackends.Open(name);
            using OperandArena arena = new(backend);
            LogProbabilitiesArgs args = new() { Logits = arena.Float32(2, 5), TokenIds = arena.Integers(4, id), Output = arena.Float32(2, 1) };

            TestBackends.AssertOutOfRange(
                backend, () => backend.LogProbabilities(args), id, "(Row|Token) 1 .*the vocabulary");
        }
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        LogProbabilitiesArgs right = new()
        {
            Logits = arena.Float32(3, 5),
            TokenIds = arena.Integers(0, 1, 2),
            Output = arena.Float32(3, 1),
        };
        backend.LogProbabilities(right);
        LogProbabilitiesArgs args = wrong switch
        {
            "no logits" => right with { Logits = default },
            "no token ids" => right with { TokenIds = default },
            "no output" => right with { Output = default },
            "logits type" => right with { Logits = arena.New(DataType.BFloat16, 3, 5) },
            "token ids type" => right with { TokenIds = arena.Float32(3, 1) },
            "token ids rows" => right with { TokenIds = arena.Integers(1, 2) },
            "output columns" => right with { Output = arena.Float32(3, 2) },
            _ => right with { Output = arena.New(DataType.Float64, 3, 1) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.LogProbabilities(args));
        Assert.Equal("LogProbabilities: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no logits", "logits is missing." },
        { "no token ids", "token ids is missing." },
        { "no output", "output is missing." },
        { "logits type", "logits is (3 x 5) BFloat16, but must be Float32." },
        { "token ids type", "token ids is (3 x 1) Float32, but must be Int32." },
        { "token ids rows", "token ids is (2 x 1) Int32, but must be (3 x 1)." },
        { "output columns", "output is (3 x 2) Float32, but must be (3 x 1)." },
        { "output type", "output is (3 x 1) Float64, but must be Float32." },
    };
}
