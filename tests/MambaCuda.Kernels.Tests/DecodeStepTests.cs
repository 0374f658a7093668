using MambaCuda.Driver.Tests;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>A whole step of decode in one kernel, where a backend has it.</summary>
public class DecodeStepTests
{
    private const string Device = "cuda-bfloat16";

    public static TheoryData<string> Cases => [.. DecodeStepCase.Names];

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string name)
    {
        using Backend backend = TestBackends.Open(Device);
        AssertRight(backend, DecodeStepCase.Named(name));
    }

    /// <summary>
    /// The host device has as many blocks as its processes are told; of seven, the last has fewer channels than the others. Weights of 16 bits
    /// with seven, numbers with eleven: each of these kernels takes seconds to compile.
    /// </summary>
    [Theory, InlineData(7, false), InlineData(11, true)]
    public async Task Blocks_may_have_more_channels_than_the_last(int multiprocessors, bool areNumbers)
    {
        Assert.SkipUnless(HostDevice.IsInUse, "Only the host device has as many multiprocessors as one likes.");
        Dictionary<string, string?> variables = new() { ["MAMBACUDA_HOST_MULTIPROCESSORS"] = $"{multiprocessors}" };
        string output = await ChildProcess.Run(RunWide, variables, $"{multiprocessors}", $"{areNumbers}");
        Assert.Contains("right", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_ring_may_have_few_stages()
    {
        Assert.SkipUnless(HostDevice.IsInUse, "Only the host device has as many multiprocessors as one likes.");
        Dictionary<string, string?> variables = new() { ["MAMBACUDA_HOST_MULTIPROCESSORS"] = "16" };
        Assert.Contains("right", await ChildProcess.Run(RunFewStages, variables, "16"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_row_fails_where_a_weight_is_another()
    {
        using Backend backend = TestBackends.Open(Device);
        DecodeStepInputs inputs = DecodeStepCase.All[0].Operands(backend.ActivationType);
        float[] head = [.. inputs.Head.Values];
        head[0] += 1;
        DecodeStepResult<float> result = DecodeStepRunner.Run(backend, inputs with { Head = new DecodeStepWeight(head, Quantized: null) });
        Assert.Contains(DecodeStepValidation.Compare(inputs, result, backend.ActivationType), error => !error.IsWithin);
    }

    [Fact]
    public void Elsewhere_there_is_none()
    {
        static bool Has(Backend backend, DecodeStepCase row)
        {
            try
            {
                DecodeStepRunner.Run(backend, row.Operands(backend.ActivationType));
                return true;
            }
            catch (InvalidOperationException)
            {
                return false;
            }
        }

        DecodeStepCase smallest = DecodeStepCase.All[0];
        using (CpuBackend cpu = new(threads: 1))
        {
            Assert.False(Has(cpu, smallest));
        }

        using (Backend exact = TestBackends.Open("cuda-float32"))
        {
            Assert.False(Has(exact, smallest));
        }

        using (Backend invariant = TestBackends.Open(Device, batchInvariant: true))
        {
            Assert.False(Has(invariant, smallest));
        }

        using Backend backend = TestBackends.Open(Device);
        Assert.False(Has(backend, smallest with { Rows = 5 }));
        Assert.False(Has(backend, smallest with { Width = 40 }));
        Assert.False(Has(backend, smallest with { Rank = 4 }));
        Assert.False(Has(backend, smallest with { StateSize = 17 }));
        int multiprocessors = ((CudaBackend)backend).Context.Device.MultiprocessorCount;
        Assert.False(Has(backend, smallest with { Channels = (40 * multiprocessors) + 32 }));
        Assert.False(Has(backend, smallest with { Rows = 2, Channels = (40 * multiprocessors) + 32 }));
        Assert.False(Has(backend, smallest with { Rows = 4, Channels = (24 * multiprocessors) + 32 }));
        DecodeStepCase numbers = DecodeStepCase.All.First(row => row.Quantized?.Type == QuantizedType.Int4);
        Assert.True(Has(backend, numbers));
        Assert.False(Has(backend, numbers with { Rows = 2 }));
        Assert.False(Has(backend, numbers with { Width = 64 }));
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        DecodeStepLayer layer = new()
        {
            NormWeight = arena.Float32(1, 5),
            InProjection = arena.Float32(12, 5),
            ConvolutionWeight = arena.Float32(4, 6),
            ScanProjection = arena.Float32(2 + 6, 6),
            TimeStepProjection = arena.Float32(6, 2),
            TimeStepBias = arena.Float32(1, 6),
            A = arena.Float32(3, 6),
            D = arena.Float32(1, 6),
            OutProjection = arena.Float32(5, 6),
            ConvolutionBefore = arena.Float32(6, 6),
            ConvolutionAfter = arena.Float32(6, 6),
            ScanBefore = arena.Float32(6, 6),
            ScanAfter = arena.Float32(6, 6),
        };
        DecodeStepArgs right = new()
        {
            Sequences = SequenceLayout.Uniform(2, 1),
            TokenIds = arena.New(DataType.Int32, 2, 1),
            Embedding = arena.Float32(9, 5),
            Layers = [layer],
            FinalNormWeight = arena.Float32(1, 5),
            Head = arena.Float32(9, 5),
            Logits = arena.Float32(2, 9),
        };
        Assert.Null(backend.PrepareDecodeStep(right));
        DecodeStepArgs args = wrong switch
        {
            "no logits" => right with { Logits = default },
            "head" => right with { Head = arena.Float32(9, 4) },
            "in projection" => right with { Layers = [layer, layer with { InProjection = arena.Float32(11, 5) }] },
            "no D" => right with { Layers = [layer with { D = default }] },
            "state rows" => right with { Layers = [layer with { ScanAfter = arena.Float32(5, 6) }] },
            _ => right with { Sequences = SequenceLayout.Uniform(1, 2) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.PrepareDecodeStep(args));
        Assert.Equal("DecodeStep: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no logits", "logits is missing." },
        { "head", "head is (9 x 4) Float32, but must be (9 x 5)." },
        { "in projection", "in projection is (11 x 5) Float32, but must be (12 x 5)." },
        { "no D", "D is missing." },
        { "state rows", "scan after is (5 x 6) Float32, but must be (6 or more x 6)." },
        { "two tokens", "a sequence has 2 tokens, but a one-token update takes one." },
    };

    private static void RunWide(string multiprocessors, string areNumbers) =>
        RunAll([.. DecodeStepCase.Wide(int.Parse(multiprocessors, null)).Where(row => row.Quantized is not null == bool.Parse(areNumbers))]);

    private static void RunFewStages(string multiprocessors) => RunAll([DecodeStepCase.FewStages(int.Parse(multiprocessors, null))]);

    private static void RunAll(DecodeStepCase[] rows)
    {
        Assert.NotEmpty(rows);
        using Backend backend = TestBackends.Open(Device);
        foreach (DecodeStepCase row in rows)
        {
            AssertRight(backend, row);
        }

        Console.WriteLine("right");
    }

    private static void AssertRight(Backend backend, DecodeStepCase row)
    {
        DecodeStepInputs inputs = row.Operands(backend.ActivationType);
        Within.AssertAll(DecodeStepValidation.Compare(inputs, DecodeStepRunner.Run(backend, inputs), backend.ActivationType));
    }
}
