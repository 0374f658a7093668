namespace MambaCuda.Kernels.Tests;

/// <summary>The embedding table, read as stored, on every backend.</summary>
public class EmbeddingForwardTests
{
    public static TheoryData<string> Backends => TestBackends.Rows;

    public static TheoryData<string, string> Cases => TestBackends.WithEvery(EmbeddingCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Rows_are_the_table_s(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        RowInputs inputs = EmbeddingCase.Named(name).Inputs();
        foreach (int gap in new[] { 0, GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            Within.AssertAll(EmbeddingForwardValidation.Compare(inputs, RowRunner.Embed(backend, inputs, gap)), $"gap {gap}");
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_token_outside_the_vocabulary_is_named(string name)
    {
        foreach (int id in new[] { -1, 10, int.MaxValue, int.MinValue })
        {
            using Backend backend = TestBackends.Open(name);
            using OperandArena arena = new(backend);
            EmbeddingForwardArgs args = new()
            {
                TokenIds = arena.Integers(3, 9, id),
                Weight = arena.Float32(10, 4),
                Output = arena.Float32(3, 4),
            };

            TestBackends.AssertOutOfRange(
                backend, () => backend.EmbeddingForward(args), id, "Token 2 .*is not in the vocabulary");

            // It goes on afterwards.
            backend.EmbeddingForward(args with { TokenIds = arena.Integers(3, 9, 0) });
            backend.Synchronize();
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void No_tokens_are_no_work(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using OperandArena arena = new(backend);
        backend.EmbeddingForward(
            new EmbeddingForwardArgs { TokenIds = arena.New(DataType.Int32, 0, 1), Weight = arena.Float32(10, 4), Output = arena.Float32(0, 4) });
        backend.Synchronize();
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
