namespace MambaCuda.Kernels.Tests;

/// <summary>What the causal convolution and its update say of operands that do not fit together.</summary>
public class CausalConv1dArgumentTests
{
    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no x", "x is missing." },
        { "no weight", "weight is missing." },
        { "no y", "y is missing." },
        { "no layout", "the sequence layout is missing." },
        { "short layout", "the sequence layout covers 5 tokens, but there are 6." },
        { "width 1", "weight is (1 x 4) Float32, but the kernel's width must be 2, 3 or 4." },
        { "width 5", "weight is (5 x 4) Float32, but the kernel's width must be 2, 3 or 4." },
        { "weight columns", "weight is (3 x 5) Float32, but must be (3 x 4)." },
        { "weight type", "weight is (3 x 4) BFloat16, but must be Float32." },
        { "x type", "x is (6 x 4) Float16, but must be Float32." },
        { "bias rows", "bias is (2 x 4) Float32, but must be (1 x 4)." },
        { "bias type", "bias is (1 x 4) BFloat16, but must be Float32." },
        { "y columns", "y is (6 x 5) Float32, but must be (6 x 4)." },
        { "y type", "y is (6 x 4) BFloat16, but must be Float32." },
        { "initial state rows", "initial state is (3 x 4) Float32, but must be (4 or more x 4)." },
        { "initial state type", "initial state is (4 x 4) BFloat16, but must be Float32." },
        { "final state columns", "final state is (4 x 3) Float32, but must be (4 or more x 4)." },
        { "final state type", "final state is (4 x 4) Float16, but must be Float32." },
    };

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        CausalConv1dForwardArgs right = new()
        {
            X = arena.Float32(6, 4),
            Weight = arena.Float32(3, 4),
            Bias = arena.Float32(1, 4),
            Sequences = SequenceLayout.Packed([2, 4]),
            InitialState = arena.Float32(4, 4),
            FinalState = arena.Float32(5, 4),
            Y = arena.Float32(6, 4),
        };
        backend.CausalConv1dForward(right);
        CausalConv1dForwardArgs args = wrong switch
        {
            "no x" => right with { X = default },
            "no weight" => right with { Weight = default },
            "no y" => right with { Y = default },
            "no layout" => right with { Sequences = null! },
            "short layout" => right with { Sequences = SequenceLayout.Packed([1, 4]) },
            "width 1" => right with { Weight = arena.Float32(1, 4) },
            "width 5" => right with { Weight = arena.Float32(5, 4) },
            "weight columns" => right with { Weight = arena.Float32(3, 5) },
            "weight type" => right with { Weight = arena.New(DataType.BFloat16, 3, 4) },
            "x type" => right with { X = arena.New(DataType.Float16, 6, 4) },
            "bias rows" => right with { Bias = arena.Float32(2, 4) },
            "bias type" => right with { Bias = arena.New(DataType.BFloat16, 1, 4) },
            "y columns" => right with { Y = arena.Float32(6, 5) },
            "y type" => right with { Y = arena.New(DataType.BFloat16, 6, 4) },
            "initial state rows" => right with { InitialState = arena.Float32(3, 4) },
            "initial state type" => right with { InitialState = arena.New(DataType.BFloat16, 4, 4) },
            "final state columns" => right with { FinalState = arena.Float32(4, 3) },
            _ => right with { FinalState = arena.New(DataType.Float16, 4, 4) },
        };
        ShapeException forward = Assert.Throws<ShapeException>(() => backend.CausalConv1dForward(args));
        Assert.Equal("CausalConv1dForward: " + expected, forward.Message);
        ShapeException update = Assert.Throws<ShapeException>(() => backend.CausalConv1dUpdate(args));
        Assert.Equal("CausalConv1dUpdate: " + expected, update.Message);
    }

    public static TheoryData<string, string> WrongGradients => new()
    {
        { "no x", "x is missing." },
        { "bias rows", "bias is (2 x 4) Float32, but must be (1 x 4)." },
        { "no gradient of y", "gradient of y is missing." },
        { "gradient of y rows", "gradient of y is (5 x 4) Float32 and x is (6 x 4) Float32; they must be the same." },
        { "gradient of x type", "gradient of x is (6 x 4) BFloat16 and x is (6 x 4) Float32; they must be the same." },
        { "gradient of the weight", "gradient of the weight is (4 x 4) Float32 and weight is (3 x 4) Float32; they must be the same." },
        { "gradient of the bias", "gradient of the bias is (1 x 5) Float32 and bias is (1 x 4) Float32; they must be the same." },
        { "gradient of no bias", "bias is missing." },
        { "gradient of the final state", "gradient of the final state is (3 x 4) Float32, but must be (4 or more x 4)." },
        { "gradient of the final state type", "gradient of the final state is (4 x 4) BFloat16, but must be Float32." },
        { "gradient of the initial state", "gradient of the initial state is (4 x 5) Float32, but must be (4 or more x 4)." },
    };

    [Theory, MemberData(nameof(WrongGradients))]
    public void A_wrong_gradient_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        CausalConv1dForwardArgs forward = new()
        {
            X = arena.Float32(6, 4),
            Weight = arena.Float32(3, 4),
            Bias = arena.Float32(1, 4),
            Sequences = SequenceLayout.Packed([2, 4]),
        };
        CausalConv1dBackwardArgs right = new()
        {
            Forward = forward,
            GradY = arena.Float32(6, 4),
            GradFinalState = arena.Float32(4, 4),
            GradX = arena.Float32(6, 4),
            GradWeight = arena.Float32(3, 4),
            GradBias = arena.Float32(1, 4),
            GradInitialState = arena.Float32(5, 4),
        };
        backend.CausalConv1dBackward(right);
        CausalConv1dBackwardArgs args = wrong switch
        {
            "no x" => right with { Forward = forward with { X = default } },
            "bias rows" => right with { Forward = forward with { Bias = arena.Float32(2, 4) } },
            "no gradient of y" => right with { GradY = default },
            "gradient of y rows" => right with { GradY = arena.Float32(5, 4) },
            "gradient of x type" => right with { GradX = arena.New(DataType.BFloat16, 6, 4) },
            "gradient of the weight" => right with { GradWeight = arena.Float32(4, 4) },
            "gradient of the bias" => right with { GradBias = arena.Float32(1, 5) },
            "gradient of no bias" => right with { Forward = forward with { Bias = default } },
            "gradient of the final state" => right with { GradFinalState = arena.Float32(3, 4) },
            "gradient of the final state type" => right with { GradFinalState = arena.New(DataType.BFloat16, 4, 4) },
            _ => right with { GradInitialState = arena.Float32(4, 5) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.CausalConv1dBackward(args));
        Assert.Equal("CausalConv1dBackward: " + expected, exception.Message);
    }
}
