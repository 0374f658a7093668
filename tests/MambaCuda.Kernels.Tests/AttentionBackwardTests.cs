namespace MambaCuda.Kernels.Tests;

/// <summary>The gradients of causal attention: the oracle against finite differences, every backend against the oracle.</summary>
public class AttentionBackwardTests
{
    private static readonly AttentionCase[] Tiny =
    [
        new(1, 1, 1, 1), new(1, 5, 2, 3), new(3, 6, 1, 4) { Packed = true }, new(2, 4, 2, 2) { Scale = 0.7f },
    ];

    public static TheoryData<string> TinyCases => [.. Tiny.Select(row => row.Name)];

    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.AttentionBackward), AttentionCase.Names);

    [Theory, MemberData(nameof(TinyCases))]
    public void Gradients_are_finite_differences(string name)
    {
        AttentionCase row = Tiny.Single(row => row.Name == name);
        AttentionInputs inputs = row.Inputs().Round(FiniteDifferences.Exact);
        float[] gradY = row.GradY();
        AttentionGradients<double> gradients = AttentionOracle.RunBackward<double>(inputs, gradY);
        double Loss(AttentionInputs moved) => AttentionOracle.Run<double>(moved).Y.Zip(gradY, (y, grad) => y * grad).Sum();

        // The weight of a single key is 1 whatever the score.
        if (row.Length > 1)
        {
            FiniteDifferences.AssertGradient("q", inputs.Q, gradients.GradQ, values => Loss(inputs with { Q = values }));
            FiniteDifferences.AssertGradient("k", inputs.K, gradients.GradK, values => Loss(inputs with { K = values }));
        }

        FiniteDifferences.AssertGradient("v", inputs.V, gradients.GradV, values => Loss(inputs with { V = values }));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (AttentionInputs inputs, float[] gradY) = Operands(backend, name);
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            AttentionResult<float> results = AttentionRunner.Run(backend, inputs, gap);
            AttentionGradients<float> actual = AttentionRunner.RunBackward(backend, inputs, results, gradY, gap);
            Within.AssertAll(AttentionBackwardValidation.Compare(inputs, gradY, actual, backend.ActivationType), $"gap {gap}");
        }
    }

    [Theory, InlineData("cuda-bfloat16", "b1 l200 h1 d128"), InlineData("cuda-float16", "b2 l300 h1 d64 packed")]
    [InlineData("cuda-bfloat16", "b2 l64 h1 d64 times 8")]
    public void Each_way_is_as_close(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        (AttentionInputs inputs, float[] gradY) = Operands(backend, name);
        AttentionResult<float> results = AttentionRunner.Run(backend, inputs, GuardedMatrix.AlignedGap);
        string?[] variants = [.. AttentionForwardValidation.BackwardVariants(backend, AttentionCase.Named(name), RowPlacement.Aligned)];
        Assert.SkipWhen(variants.Length == 0, "Blocks of this card have too little shared memory for heads of this size.");
        Assert.Contains("mma 64", variants);
        foreach (string? variant in variants)
        {
            AttentionGradients<float> actual = AttentionRunner.RunBackward(backend, inputs, results, gradY, GuardedMatrix.AlignedGap, variant);
            Within.AssertAll(AttentionBackwardValidation.Compare(inputs, gradY, actual, backend.ActivationType), variant!);
        }
    }

    [Theory, MemberData(nameof(TestBackends.Rows), MemberType = typeof(TestBackends))]
    public void A_packed_sequence_is_the_sequence_alone_and_results_repeat(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        (AttentionInputs inputs, float[] gradY) = Operands(backend, "b3 l66 h1 d64 packed scale 0.2");
        AttentionResult<float> results = AttentionRunner.Run(backend, inputs, GuardedMatrix.AlignedGap);
        AttentionGradients<float> Run(AttentionInputs of, AttentionResult<float> results, float[] grad) =>
            AttentionRunner.RunBackward(backend, of, results, grad, GuardedMatrix.AlignedGap);
        AttentionGradients<float> packed = Run(inputs, results, gradY);
        AssertSame(packed, Run(inputs, results, gradY), "again");
        for (int sequence = 0; sequence < inputs.Lengths.Length; sequence++)
        {
            (int, int) Only(int other) => (0, other == sequence ? inputs.Lengths[other] : 0);
            PackedParts part = new(inputs.Lengths, Only);
            AttentionInputs alone = inputs.Parts(Only);
            float[] Rows(float[] values) => part.Rows(values, inputs.Columns);
            AttentionResult<float> own = AttentionRunner.Run(backend, alone, GuardedMatrix.AlignedGap);
            Bits.AssertSame(Rows(results.Y), own.Y, $"y of sequence {sequence}");
            AttentionGradients<float> of = new(Rows(packed.GradQ), Rows(packed.GradK), Rows(packed.GradV));
            AssertSame(of, Run(alone, own, Rows(gradY)), $"sequence {sequence} alone");
        }
    }

    [Theory, MemberData(nameof(TestBackends.Rows), MemberType = typeof(TestBackends))]
    public void Not_a_number_reaches_what_depends_on_it(string backendName)
    {
        const int Poisoned = 11;
        using Backend backend = TestBackends.Open(backendName);
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            (AttentionInputs inputs, float[] gradY) = Operands(backend, "b1 l31 h1 d64");
            AttentionResult<float> results = AttentionRunner.Run(backend, inputs, gap);
            gradY[Poisoned * inputs.Columns] = float.NaN;
            AttentionGradients<float> actual = AttentionRunner.RunBackward(backend, inputs, results, gradY, gap);
            for (int i = 0; i < inputs.Q.Length; i++)
            {
                // By tensor cores it reaches the other keys of its tile too.
                int row = i / inputs.Columns, column = i % inputs.Columns;
                bool inTile = gap == GuardedMatrix.AlignedGap && backend.ActivationType != DataType.Float32;
                Assert.Equal(row == Poisoned, float.IsNaN(actual.GradQ[i]));
                Assert.Equal(inTile || row <= Poisoned, float.IsNaN(actual.GradK[i]));
                Assert.Equal((inTile || row <= Poisoned) && column == 0, float.IsNaN(actual.GradV[i]));
            }
        }
    }

    [Fact]
    public void Says_what_does_not_fit()
    {
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Allocate(1 << 16);
        int next = 0;
        MatrixView Matrix(long rows, int columns) => buffer.Matrix(DataType.Float32, rows, columns, 2048 * next++);
        AttentionBackwardArgs good = new()
        {
            Forward = new AttentionForwardArgs
            {
                Q = Matrix(6, 8),
                K = Matrix(6, 8),
                V = Matrix(6, 8),
                Heads = 2,
                Sequences = SequenceLayout.Uniform(2, 3),
                Y = Matrix(6, 8),
                LogSumExp = Matrix(2, 6),
            },
            GradY = Matrix(6, 8),
            GradQ = Matrix(6, 8),
            GradK = Matrix(6, 8),
            GradV = Matrix(6, 8),
        };
        backend.AttentionBackward(good);
        void Fails(AttentionBackwardArgs args, string message) =>
            Assert.Matches(message, Assert.Throws<ShapeException>(() => backend.AttentionBackward(args)).Message);
        Fails(good with { Forward = good.Forward with { LogSumExp = default } }, "log-sum-exp is missing");
        Fails(good with { GradY = default }, "gradient of y is missing");
        Fails(good with { GradK = Matrix(5, 8) }, "gradient of k is .* and q is");
        Fails(good with { GradV = good.Forward.Q }, "the gradient of v and q are the same memory");
    }

    private static (AttentionInputs Inputs, float[] GradY) Operands(Backend backend, string name)
    {
        float[] Round(float[] values) => StoredValues.Round(values, backend.ActivationType);
        AttentionCase row = AttentionCase.Named(name);
        return (row.Inputs().Round(Round), Round(row.GradY()));
    }

    private static void AssertSame(AttentionGradients<float> expected, AttentionGradients<float> actual, string how) => GradientAssert.Same(
        [("q", expected.GradQ, actual.GradQ), ("k", expected.GradK, actual.GradK), ("v", expected.GradV, actual.GradV)], how);
}
