namespace MambaCuda.Kernels.Tests;

/// <summary>Causal attention over its table of cases, on every backend.</summary>
public class AttentionForwardTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.AttentionForward), AttentionCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        AttentionInputs inputs = Inputs(backend, name);
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            AttentionResult<float> actual = AttentionRunner.Run(backend, inputs, gap);
            Within.AssertAll(AttentionForwardValidation.Compare(inputs, actual, backend.ActivationType), $"gap {gap}");
        }
    }

    [Theory, InlineData("cuda-bfloat16", "b2 l300 h1 d64 packed"), InlineData("cuda-float16", "b1 l200 h1 d128")]
    [InlineData("cuda-bfloat16", "b2 l64 h1 d64 times 8")]
    public void Each_way_is_as_close_and_mma_of_any_size_gives_the_same_bits(string backendName, string name)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(backendName);
        AttentionCase row = AttentionCase.Named(name);
        AttentionInputs inputs = Inputs(backend, name);
        Dictionary<string, AttentionResult<float>> results = [];
        foreach (string variant in AttentionForwardValidation.Variants(backend, row, RowPlacement.Aligned).OfType<string>())
        {
            results[variant] = AttentionRunner.Run(backend, inputs, GuardedMatrix.AlignedGap, variant: variant);
            Within.AssertAll(AttentionForwardValidation.Compare(inputs, results[variant], backend.ActivationType), variant);
        }

        Assert.SkipWhen(results.Count == 0, "Blocks of this card have too little shared memory for heads of this size.");
        Bits.AssertSame(results["mma 64"].Y, results["mma 128"].Y, "y");
        Bits.AssertSame(results["mma 64"].LogSumExp, results["mma 128"].LogSumExp, "log-sum-exp");
    }

    [Fact]
    public void Larger_blocks_are_taken_where_there_are_many()
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open("cuda-bfloat16");
        using DeviceBuffer buffer = backend.Allocate(4L * 2048 * 64 * 2);
        MatrixView Matrix(int number, int tokens) => buffer.Matrix(DataType.BFloat16, tokens, 64, number * 2048L * 64 * 2);
        string[] Ways(int tokens) => [.. backend.AttentionVariants(new AttentionForwardArgs
        {
            Q = Matrix(0, tokens),
            K = Matrix(1, tokens),
            V = Matrix(2, tokens),
            Y = Matrix(3, tokens),
            Heads = 1,
            Sequences = SequenceLayout.Uniform(tokens, 1),
        }).Select(variant => variant.ToString())];
        string[] hopper = backend.Context.Device.ComputeCapability is { Major: 9, Minor: 0 } ? ["wgmma 128"] : [];
        Assert.Equal([.. hopper, "mma 64", "mma 128", "a warp a query"], Ways(1));
        Assert.Equal([.. hopper, "mma 128", "mma 64", "a warp a query"], Ways(2048));
    }

    [Theory, MemberData(nameof(TestBackends.Rows), MemberType = typeof(TestBackends))]
    public void Without_log_sum_exp_y_is_the_same(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        AttentionInputs inputs = Inputs(backend, "b1 l31 h1 d64");
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            float[] without = AttentionRunner.Run(backend, inputs, gap, withLogSumExp: false).Y;
            Bits.AssertSame(AttentionRunner.Run(backend, inputs, gap).Y, without, $"y, gap {gap}");
        }
    }

    [Theory, MemberData(nameof(TestBackends.Rows), MemberType = typeof(TestBackends))]
    public void Not_a_number_reaches_just_the_tokens_that_see_it(string backendName)
    {
        const int Poisoned = 11;
        using Backend backend = TestBackends.Open(backendName);
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            AttentionInputs inputs = Inputs(backend, "b1 l31 h1 d64");
            inputs.K[(Poisoned * inputs.Columns) + 5] = float.NaN;
            AttentionResult<float> actual = AttentionRunner.Run(backend, inputs, gap);
            for (int i = 0; i < actual.Y.Length; i++)
            {
                Assert.True(float.IsNaN(actual.Y[i]) == i / inputs.Columns >= Poisoned, $"Row {i / inputs.Columns} has {actual.Y[i]}.");
            }

            Assert.All(actual.LogSumExp.Index(), item => Assert.Equal(item.Index >= Poisoned, float.IsNaN(item.Item)));
        }
    }

    [Theory, InlineData(1), InlineData(3)]
    public void Does_not_depend_on_the_number_of_threads(int threads)
    {
        using CpuBackend two = new(threads: 2), other = new(threads);
        AttentionInputs inputs = Inputs(two, "b2 l100 h1 d128 packed");
        AttentionResult<float> expected = AttentionRunner.Run(two, inputs), actual = AttentionRunner.Run(other, inputs);
        Bits.AssertSame(expected.Y, actual.Y, "y");
        Bits.AssertSame(expected.LogSumExp, actual.LogSumExp, "log-sum-exp");
    }

    [Fact]
    public void Says_what_does_not_fit()
    {
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Allocate(1 << 16);
        int next = 0;
        MatrixView Matrix(long rows, int columns, DataType type = DataType.Float32) => buffer.Matrix(type, rows, columns, 4096 * next++);
        AttentionForwardArgs good = new()
        {
            Q = Matrix(6, 8),
            K = Matrix(6, 8),
            V = Matrix(6, 8),
            Heads = 2,
            Sequences = SequenceLayout.Uniform(2, 3),
            Y = Matrix(6, 8),
            LogSumExp = Matrix(2, 6),
        };
        backend.AttentionForward(good);
        void Fails(AttentionForwardArgs args, string message) =>
            Assert.Matches(message, Assert.Throws<ShapeException>(() => backend.AttentionForward(args)).Message);
        Fails(good with { Q = default }, "q is missing");
        Fails(good with { Q = Matrix(6, 8, DataType.BFloat16) }, "q is .* must be Float32");
        Fails(good with { K = Matrix(5, 8) }, "k is .* and q is");
        Fails(good with { V = Matrix(6, 7) }, "v is .* and q is");
        Fails(good with { Y = good.V }, "y and v are the same memory");
        Fails(good with { Heads = 3 }, "1 to 128 columns for each of 3 heads");
        Fails(good with { Sequences = SequenceLayout.Uniform(1, 5) }, "covers 5 tokens, but there are 6");
        Fails(good with { LogSumExp = Matrix(6, 2) }, @"log-sum-exp is .* must be \(2 x 6\)");
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.AttentionForward(good with { Heads = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.AttentionForward(good with { Scale = float.NaN }));
    }

    private static AttentionInputs Inputs(Backend backend, string name) =>
        AttentionCase.Named(name).Inputs().Round(values => StoredValues.Round(values, backend.ActivationType));
}
