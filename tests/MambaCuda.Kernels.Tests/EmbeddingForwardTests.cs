namespace MambaCuda.Kernels.Tests;

/// <summary>The embedding table, read as stored, on every backend.</summary>
public class EmbeddingForwardTests
{
    [Theory]
    [InlineData(DataType.Float32, 1), InlineData(DataType.Float32, 7), InlineData(DataType.Float32, 64)]
    [InlineData(DataType.BFloat16, 1), InlineData(DataType.BFloat16, 17), InlineData(DataType.BFloat16, 64)]
    [InlineData(DataType.Float16, 1), InlineData(DataType.Float16, 33), InlineData(DataType.Float16, 64)]
    public void Rows_are_the_table_s(DataType type, int channels)
    {
        const int Vocabulary = 29;
        foreach (string name in TestBackends.Names)
        {
            using Backend backend = TestBackends.Open(name);
            RandomValues random = new($"{type} {channels}");
            float[] table = StoredValues.Round(random.Normal(Vocabulary * channels), type);
            int[] ids = [0, Vocabulary - 1, 5, 5, .. random.Integers(40, Vocabulary)];
            foreach (int gap in new[] { 0, GuardedMatrix.UsualGap })
            {
                using GuardedMatrix weight = GuardedMatrix.Input(backend, type, Vocabulary, channels, table, gap);
                using GuardedMatrix tokens = GuardedMatrix.Input(backend, ids.Length, 1, ids, gap);
                using GuardedMatrix output = GuardedMatrix.Output(backend, DataType.Float32, ids.Length, channels, gap: gap);
                backend.EmbeddingForward(new EmbeddingForwardArgs { TokenIds = tokens.View, Weight = weight.View, Output = output.View });
                output.AssertGuardsIntact("output");
                weight.AssertUnchanged("weight");
                tokens.AssertUnchanged("token ids");
                Bits.AssertSame(RowOracle.Run(table, channels, ids), output.Values(), "output");
            }
        }
    }

    [Theory, InlineData(-1), InlineData(10), InlineData(int.MaxValue), InlineData(int.MinValue)]
    public void A_token_outside_the_vocabulary_is_named(int id)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        EmbeddingForwardArgs args = new()
        {
            TokenIds = arena.Integers(3, 9, id),
            Weight = arena.Float32(10, 4),
            Output = arena.Float32(3, 4),
        };
        ArgumentOutOfRangeException exception = Assert.Throws<ArgumentOutOfRangeException>(() => backend.EmbeddingForward(args));
        Assert.Equal(id, exception.ActualValue);
        Assert.Contains("Token 2 is not in the vocabulary of 10", exception.Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        EmbeddingForwardArgs right = new()
        {
            TokenIds = arena.Integers(0, 1, 2),
            Weight = arena.Float32(10, 4),
            Output = arena.Float32(3, 4),
        };
        backend.EmbeddingForward(right);
        EmbeddingForwardArgs args = wrong switch
        {
            "no token ids" => right with { TokenIds = default },
            "no weight" => right with { Weight = default },
            "no output" => right with { Output = default },
            "token ids type" => right with { TokenIds = arena.Float32(3, 1) },
            "token ids columns" => right with { TokenIds = arena.New(DataType.Int32, 3, 2) },
            "weight type" => right with { Weight = arena.New(DataType.Float64, 10, 4) },
            "output rows" => right with { Output = arena.Float32(2, 4) },
            "output columns" => right with { Output = arena.Float32(3, 5) },
            _ => right with { Output = arena.New(DataType.BFloat16, 3, 4) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.EmbeddingForward(args));
        Assert.Equal("EmbeddingForward: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no token ids", "token ids is missing." },
        { "no weight", "weight is missing." },
        { "no output", "output is missing." },
        { "token ids type", "token ids is (3 x 1) Float32, but must be Int32." },
        { "token ids columns", "token ids is (3 x 2) Int32, but must be (3 x 1)." },
        { "weight type", "weight is (10 x 4) Float64, but weights are Float32, BFloat16 or Float16." },
        { "output rows", "output is (2 x 4) Float32, but must be (3 x 4)." },
        { "output columns", "output is (3 x 5) Float32, but must be (3 x 4)." },
        { "output type", "output is (3 x 4) BFloat16, but must be Float32." },
    };
}
