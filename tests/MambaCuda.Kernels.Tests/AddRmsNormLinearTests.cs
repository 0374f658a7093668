namespace MambaCuda.Kernels.Tests;

/// <summary>The norm with a linear layer behind, on every backend.</summary>
public class AddRmsNormLinearTests
{
    public static TheoryData<string, string> Cases => TestBackends.With(nameof(Backend.AddRmsNormLinear), AddRmsNormLinearCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Is_as_close_to_float64_as_a_plain_evaluation(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        AddRmsNormLinearInputs inputs = AddRmsNormLinearCase.Named(name).Operands(backend.ActivationType);
        foreach (int gap in inputs.Linear.Quantized is not null ? [GuardedMatrix.AlignedGap] : new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            Within.AssertAll(AddRmsNormLinearValidation.Compare(inputs, AddRmsNormLinearRunner.Run(backend, inputs, gap), backend.ActivationType));
        }
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        AddRmsNormLinearArgs right = new()
        {
            X = arena.Float32(2, 4),
            Residual = arena.Float32(2, 4),
            ResidualOut = arena.Float32(2, 4),
            NormWeight = arena.Float32(1, 4),
            Epsilon = 1e-5f,
            Weight = arena.Float32(3, 4),
            NormWork = arena.Float32(2, 4),
            Y = arena.Float32(2, 3),
        };
        backend.AddRmsNormLinear(right);
        AddRmsNormLinearArgs args = wrong switch
        {
            "no work" => right with { NormWork = default },
            "residual out in place" => right with { ResidualOut = right.Residual },
            "no residual out" => right with { ResidualOut = default },
            "residual out without x" => right with { X = default },
            "weight columns" => right with { Weight = arena.Float32(3, 5) },
            _ => right with { Y = arena.Float32(2, 4) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.AddRmsNormLinear(args));
        Assert.Equal("AddRmsNormLinear: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no work", "work is missing." },
        { "residual out in place", "residual out and residual are the same memory, but cannot be." },
        { "no residual out", "residual out is missing." },
        { "residual out without x", "residual out is (2 x 4) Float32, but is not used here and must be left out." },
        { "weight columns", "weight is (3 x 5) Float32, but must be (3 x 4)." },
        { "y columns", "y is (2 x 4) Float32, but must be (2 x 3)." },
    };
}
