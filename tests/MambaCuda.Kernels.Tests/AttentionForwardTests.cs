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
            Within.AssertAll(AttentionForwardValidation.Compare(inputs, AttentionRunner.Run(backend, inputs, gap), backend.ActivationType), $"gap {gap}");
        }
    }

    [Theory, InlineData("cuda-bfloat16", 64), InlineData("cuda-float16", 128)]
    public void Larger_blocks_give_the_same_bits(string backendName, int headSize)
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open(backendName);
        AttentionCase row = AttentionCase.Many(backend.Context.Device.MultiprocessorCount).Single(row => row.HeadSize == headSize);
        AttentionInputs inputs = row.Inputs().Round(values => StoredValues.Round(values, backend.ActivationType));
        AttentionInputs first = inputs.Parts(sequence => (0, sequence == 0 ? row.Length : 0));
        List<KernelLaunch> launches = [];
        backend.OnLaunch = launches.Add;
        AttentionResult<float> many = AttentionRunner.Run(backend, inputs, GuardedMatrix.AlignedGap);
        AttentionResult<float> few = AttentionRunner.Run(backend, first, GuardedMatrix.AlignedGap);
        Assert.Equal([$"mma 128 x {headSize}", $"mma 64 x {headSize}"], launches.Select(launch => launch.Variant));
        Bits.AssertSame(many.Y[..few.Y.Length], few.Y, "y of the first sequence");
        Within.AssertAll(AttentionForwardValidation.Compare(inputs, many, backend.ActivationType));
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
