namespace MambaCuda.Kernels.Tests;

/// <summary>What stands between the two large projections of a block, for one token of each sequence, on every backend.</summary>
public class MixerStepTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.MixerStep), MixerStepCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        MixerStepInputs inputs = MixerStepCase.Named(name).Operands(backend.ActivationType);
        foreach (int gap in inputs.Case.Quantized is not null ? [GuardedMatrix.AlignedGap] : new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            Within.AssertAll(MixerStepValidation.Compare(inputs, MixerStepRunner.Run(backend, inputs, gap), backend.ActivationType));
        }
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        MixerStepArgs right = new()
        {
            Sequences = SequenceLayout.Uniform(2, 1),
            X = arena.Float32(2, 6),
            Z = arena.Float32(2, 6),
            ConvolutionWeight = arena.Float32(4, 6),
            ConvolutionBefore = arena.Float32(6, 6),
            ConvolutionAfter = arena.Float32(6, 6),
            ScanProjection = arena.Float32(2 + 6, 6),
            TimeStepProjection = arena.Float32(6, 2),
            TimeStepBias = arena.Float32(1, 6),
            A = arena.Float32(3, 6),
            D = arena.Float32(1, 6),
            ScanBefore = arena.Float32(6, 6),
            ScanAfter = arena.Float32(6, 6),
            InnerWork = arena.Float32(2, 6),
            ScanInputsWork = arena.Float32(2, 8),
            DeltaWork = arena.Float32(2, 6),
            Y = arena.Float32(2, 6),
        };
        backend.MixerStep(right);
        MixerStepArgs args = wrong switch
        {
            "no scan state" => right with { ScanBefore = default },
            "no gate" => right with { Z = default },
            "scan projection" => right with { ScanProjection = arena.Float32(7, 6) },
            "time step projection" => right with { TimeStepProjection = arena.Float32(5, 2) },
            "work" => right with { ScanInputsWork = arena.Float32(2, 9) },
            "state rows" => right with { ScanAfter = arena.Float32(5, 6) },
            _ => right with { Sequences = SequenceLayout.Uniform(1, 2) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.MixerStep(args));
        Assert.Equal("MixerStep: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no scan state", "scan before is missing." },
        { "no gate", "z is missing." },
        { "scan projection", "scan projection is (7 x 6) Float32, but must be (8 x 6)." },
        { "time step projection", "time step projection is (5 x 2) Float32, but must be (6 x 2)." },
        { "work", "work for scan inputs is (2 x 9) Float32, but must be (2 x 8)." },
        { "state rows", "final state is (5 x 6) Float32, but must be (6 or more x 6)." },
        { "two tokens", "a sequence has 2 tokens, but a one-token update takes one." },
    };
}
