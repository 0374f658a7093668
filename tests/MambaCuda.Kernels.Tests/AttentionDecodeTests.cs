namespace MambaCuda.Kernels.Tests;

/// <summary>Attention of one new token to a cache, on every backend.</summary>
public class AttentionDecodeTests
{
    // More tokens than a chunk of the cache, and than several.
    private static readonly AttentionCase[] Long =
        [new(2, 600, 1, 64) { Packed = true }, new(3, 1100, 2, 128) { Packed = true }, new(2, 513, 1, 20)];

    public static TheoryData<string, string> Cases =>
        TestBackends.With(nameof(Backend.AttentionDecode), Long.Concat(AttentionCase.All).Select(row => row.Name));

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        AttentionInputs inputs = Inputs(backend, name);
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            float[] actual = AttentionRunner.RunDecode(backend, inputs, gap);
            Within.AssertAll(AttentionDecodeValidation.Compare(inputs, actual, backend.ActivationType), $"gap {gap}");
        }
    }

    [Theory, MemberData(nameof(TestBackends.Rows), MemberType = typeof(TestBackends))]
    public void Batch_invariant_a_sequence_is_the_sequence_alone(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName, batchInvariant: true);
        AttentionInputs inputs = Inputs(backend, Long[1].Name);
        float[] all = AttentionRunner.RunDecode(backend, inputs, GuardedMatrix.AlignedGap);
        for (int sequence = 0; sequence < inputs.Lengths.Length; sequence++)
        {
            AttentionInputs alone = inputs.Parts(other => (0, other == sequence ? inputs.Lengths[other] : 0));
            float[] expected = all[(sequence * inputs.Columns)..((sequence + 1) * inputs.Columns)];
            Bits.AssertSame(expected, AttentionRunner.RunDecode(backend, alone, GuardedMatrix.AlignedGap, moreRows: 700), $"sequence {sequence}");
        }
    }

    [Theory, MemberData(nameof(TestBackends.Rows), MemberType = typeof(TestBackends))]
    public void A_length_that_cannot_be_is_told(string backendName)
    {
        using Backend backend = TestBackends.Open(backendName);
        foreach (int length in new[] { -1, 4, int.MaxValue })
        {
            using GuardedMatrix lengths = GuardedMatrix.Input(backend, 2, 1, [3, length]);
            using DeviceBuffer buffer = backend.Allocate(1 << 14);
            int next = 0;
            MatrixView Matrix(long rows) => buffer.Matrix(backend.ActivationType, rows, 8, 1024 * next++);
            AttentionDecodeArgs args = new()
            {
                Q = Matrix(2),
                K = Matrix(2),
                V = Matrix(2),
                Heads = 1,
                KeyCache = Matrix(8),
                ValueCache = Matrix(8),
                Lengths = lengths.View,
                Y = Matrix(2),
            };
            TestBackends.AssertOutOfRange(backend, () => backend.AttentionDecode(args), length, "Sequence 1 has .* no room for one more");
        }
    }

    [Fact]
    public void Says_what_does_not_fit()
    {
        using CpuBackend backend = new(threads: 1);
        using DeviceBuffer buffer = backend.Allocate(1 << 16);
        int next = 0;
        MatrixView Matrix(long rows, int columns, DataType type = DataType.Float32) => buffer.Matrix(type, rows, columns, 2048 * next++);
        AttentionDecodeArgs good = new()
        {
            Q = Matrix(2, 8),
            K = Matrix(2, 8),
            V = Matrix(2, 8),
            Heads = 2,
            KeyCache = Matrix(10, 8),
            ValueCache = Matrix(10, 8),
            Lengths = Matrix(2, 1, DataType.Int32),
            Y = Matrix(2, 8),
        };
        backend.AttentionDecode(good);
        void Fails(AttentionDecodeArgs args, string message) =>
            Assert.Matches(message, Assert.Throws<ShapeException>(() => backend.AttentionDecode(args)).Message);
        Fails(good with { KeyCache = Matrix(9, 8), ValueCache = Matrix(9, 8) }, "as many rows for each of 2 sequences");
        Fails(good with { KeyCache = Matrix(10, 4), ValueCache = Matrix(10, 4) }, "must have 8 columns");
        Fails(good with { ValueCache = good.KeyCache }, "value cache and key cache are the same memory");
        Fails(good with { ValueCache = Matrix(8, 8) }, "value cache is .* and key cache is");
        Fails(good with { Lengths = Matrix(1, 1, DataType.Int32) }, @"lengths is .* must be \(2 x 1\)");
        Fails(good with { Lengths = Matrix(2, 1) }, "lengths is .* must be Int32");
        Fails(good with { Lengths = default }, "lengths is missing");
    }

    private static AttentionInputs Inputs(Backend backend, string name) => AttentionCase.All.Concat(Long).Single(row => row.Name == name)
        .Inputs().Round(values => StoredValues.Round(values, backend.ActivationType));
}
