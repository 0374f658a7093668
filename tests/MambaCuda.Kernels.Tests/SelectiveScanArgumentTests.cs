namespace MambaCuda.Kernels.Tests;

/// <summary>What the selective scan and its update say of operands that do not fit together.</summary>
public class SelectiveScanArgumentTests
{
    private const string BMustBe = "but must be (6 x groups * 3) with groups that divide the 4 channels.";

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no u", "u is missing." },
        { "no delta", "delta is missing." },
        { "no A", "A is missing." },
        { "no B", "B is missing." },
        { "no C", "C is missing." },
        { "no y", "y is missing." },
        { "no layout", "the sequence layout is missing." },
        { "short layout", "the sequence layout covers 5 tokens, but there are 6." },
        { "long layout", "the sequence layout covers 7 tokens, but there are 6." },
        { "no state size", "A is (0 x 4) Float32, but the state size must be 1 to 256." },
        { "large state size", "A is (257 x 4) Float32, but the state size must be 1 to 256." },
        { "A columns", "A is (3 x 5) Float32, but must be (3 x 4)." },
        { "A type", "A is (3 x 4) BFloat16, but must be Float32." },
        { "imaginary rows", "imaginary part of A is (2 x 4) Float32, but must be (3 x 4)." },
        { "imaginary type", "imaginary part of A is (3 x 4) BFloat16, but must be Float32." },
        { "real B", "B is (6 x 3) Float32, but must be (6 x groups * 6) with groups that divide the 4 channels." },
        { "real C", "C is (6 x 3) Float32, but must be (6 x groups * 6) with groups that divide the 4 channels." },
        { "real constant B", "constant B is (3 x 4) Float32, but must be (6 x 4)." },
        { "real initial state", "initial state is (6 x 4) Float32, but must be (12 or more x 4)." },
        { "real final state", "final state is (8 x 4) Float32, but must be (12 or more x 4)." },
        { "u type", "u is (6 x 4) BFloat16, but must be Float32." },
        { "delta rows", "delta is (5 x 4) Float32, but must be (6 x 4)." },
        { "delta type", "delta is (6 x 4) Float16, but must be Float32." },
        { "B rows", "B is (5 x 3) Float32, " + BMustBe },
        { "B columns", "B is (6 x 4) Float32, " + BMustBe },
        { "B without columns", "B is (6 x 0) Float32, " + BMustBe },
        { "three groups", "B is (6 x 9) Float32, " + BMustBe },
        { "B type", "B is (6 x 3) Int32, but must be Float32." },
        { "C groups", "B is (6 x 3) Float32 and C is (6 x 6) Float32; they must have the same groups." },
        { "constant B shape", "constant B is (6 x 3) Float32, but must be (3 x 4)." },
        { "constant B type", "constant B is (3 x 4) BFloat16, but must be Float32." },
        { "constant C shape", "constant C is (6 x 3) Float32, but must be (3 x 4)." },
        { "D columns", "D is (1 x 3) Float32, but must be (1 x 4)." },
        { "D type", "D is (1 x 4) BFloat16, but must be Float32." },
        { "z columns", "z is (6 x 8) Float32, but must be (6 x 4)." },
        { "z type", "z is (6 x 4) BFloat16, but must be Float32." },
        { "delta bias rows", "delta bias is (2 x 4) Float32, but must be (1 x 4)." },
        { "delta bias type", "delta bias is (1 x 4) Float16, but must be Float32." },
        { "y rows", "y is (7 x 4) Float32, but must be (6 x 4)." },
        { "y type", "y is (6 x 4) Float64, but must be Float32." },
        { "initial state rows", "initial state is (5 x 4) Float32, but must be (6 or more x 4)." },
        { "initial state type", "initial state is (6 x 4) BFloat16, but must be Float32." },
        { "final state rows", "final state is (5 x 4) Float32, but must be (6 or more x 4)." },
        { "final state columns", "final state is (6 x 5) Float32, but must be (6 or more x 4)." },
        { "final state type", "final state is (6 x 4) BFloat16, but must be Float32." },
    };

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        SelectiveScanForwardArgs right = Operands(arena) with
        {
            InitialState = arena.Float32(6, 4),
            FinalState = arena.Float32(8, 4),
            Y = arena.Float32(6, 4),
        };
        backend.SelectiveScanForward(right);
        SelectiveScanForwardArgs args = Break(right, wrong, arena);
        ShapeException forward = Assert.Throws<ShapeException>(() => backend.SelectiveScanForward(args));
        Assert.Equal("SelectiveScanForward: " + expected, forward.Message);
        ShapeException update = Assert.Throws<ShapeException>(() => backend.SelectiveStateUpdate(args));
        Assert.Equal("SelectiveStateUpdate: " + expected, update.Message);
    }

    [Fact]
    public void Gradients_with_complex_A_are_refused_by_name()
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        SelectiveScanForwardArgs complex = Operands(arena) with
        {
            AImaginary = arena.Float32(3, 4),
            B = arena.Float32(6, 6),
            C = arena.Float32(6, 6),
            Checkpoints = arena.Float32(6, 4),
            Y = arena.Float32(6, 4),
        };
        const string Reason = ": A is complex; there are gradients of the scan with real A alone.";
        string forward = Assert.Throws<NotSupportedException>(() => backend.SelectiveScanForward(complex)).Message;
        Assert.Equal("SelectiveScanForward" + Reason, forward);
        SelectiveScanBackwardArgs gradients = new() { Forward = complex, GradY = arena.Float32(6, 4) };
        string backward = Assert.Throws<NotSupportedException>(() => backend.SelectiveScanBackward(gradients)).Message;
        Assert.Equal("SelectiveScanBackward" + Reason, backward);
    }

    /// <summary>What a scan reads: 6 tokens of 4 channels in two sequences, 3 states.</summary>
    private static SelectiveScanForwardArgs Operands(OperandArena arena) => new()
    {
        U = arena.Float32(6, 4),
        Delta = arena.Float32(6, 4),
        A = arena.Float32(3, 4),
        B = arena.Float32(6, 3),
        C = arena.Float32(6, 3),
        D = arena.Float32(1, 4),
        Z = arena.Float32(6, 4),
        DeltaBias = arena.Float32(1, 4),
        Sequences = SequenceLayout.Packed([2, 4]),
    };

    private static SelectiveScanForwardArgs Break(SelectiveScanForwardArgs right, string wrong, OperandArena arena) => wrong switch
    {
        "no u" => right with { U = default },
        "no delta" => right with { Delta = default },
        "no A" => right with { A = default },
        "no B" => right with { B = default },
        "no C" => right with { C = default },
        "no y" => right with { Y = default },
        "no layout" => right with { Sequences = null! },
        "short layout" => right with { Sequences = SequenceLayout.Packed([2, 3]) },
        "long layout" => right with { Sequences = SequenceLayout.Uniform(1, 7) },
        "no state size" => right with { A = arena.Float32(0, 4) },
        "large state size" => right with { A = arena.Float32(257, 4) },
        "A columns" => right with { A = arena.Float32(3, 5) },
        "A type" => right with { A = arena.New(DataType.BFloat16, 3, 4) },
        "imaginary rows" => right with { AImaginary = arena.Float32(2, 4) },
        "imaginary type" => right with
        {
            AImaginary = arena.New(DataType.BFloat16, 3, 4),
            B = arena.Float32(6, 6),
            C = arena.Float32(6, 6),
            InitialState = arena.Float32(12, 4),
            FinalState = arena.Float32(12, 4),
        },
        "real B" => right with { AImaginary = arena.Float32(3, 4) },
        "real C" => right with { AImaginary = arena.Float32(3, 4), B = arena.Float32(6, 6) },
        "real constant B" => right with { AImaginary = arena.Float32(3, 4), B = arena.Float32(3, 4), ConstantB = true },
        "real initial state" => right with { AImaginary = arena.Float32(3, 4), B = arena.Float32(6, 6), C = arena.Float32(6, 6) },
        "real final state" => right with
        {
            AImaginary = arena.Float32(3, 4),
            B = arena.Float32(6, 6),
            C = arena.Float32(6, 6),
            InitialState = arena.Float32(12, 4),
        },
        "u type" => right with { U = arena.New(DataType.BFloat16, 6, 4) },
        "delta rows" => right with { Delta = arena.Float32(5, 4) },
        "delta type" => right with { Delta = arena.New(DataType.Float16, 6, 4) },
        "B rows" => right with { B = arena.Float32(5, 3) },
        "B columns" => right with { B = arena.Float32(6, 4) },
        "B without columns" => right with { B = arena.Float32(6, 0) },
        "three groups" => right with { B = arena.Float32(6, 9) },
        "B type" => right with { B = arena.New(DataType.Int32, 6, 3) },
        "C groups" => right with { C = arena.Float32(6, 6) },
        "constant B shape" => right with { ConstantB = true },
        "constant B type" => right with { ConstantB = true, B = arena.New(DataType.BFloat16, 3, 4) },
        "constant C shape" => right with { ConstantC = true },
        "D columns" => right with { D = arena.Float32(1, 3) },
        "D type" => right with { D = arena.New(DataType.BFloat16, 1, 4) },
        "z columns" => right with { Z = arena.Float32(6, 8) },
        "z type" => right with { Z = arena.New(DataType.BFloat16, 6, 4) },
        "delta bias rows" => right with { DeltaBias = arena.Float32(2, 4) },
        "delta bias type" => right with { DeltaBias = arena.New(DataType.Float16, 1, 4) },
        "y rows" => right with { Y = arena.Float32(7, 4) },
        "y type" => right with { Y = arena.New(DataType.Float64, 6, 4) },
        "initial state rows" => right with { InitialState = arena.Float32(5, 4) },
        "initial state type" => right with { InitialState = arena.New(DataType.BFloat16, 6, 4) },
        "final state rows" => right with { FinalState = arena.Float32(5, 4) },
        "final state columns" => right with { FinalState = arena.Float32(6, 5) },
        "final state type" => right with { FinalState = arena.New(DataType.BFloat16, 6, 4) },
        _ => throw new ArgumentOutOfRangeException(nameof(wrong), wrong, "Not a case."),
    };

    public static TheoryData<string, string> WrongGradients => new()
    {
        { "no u", "u is missing." },
        { "A type", "A is (3 x 4) BFloat16, but must be Float32." },
        { "no checkpoints", "checkpoints is missing." },
        { "checkpoint rows", "checkpoints is (9 x 4) Float32, but must be (6 x 4)." },
        { "checkpoint type", "checkpoints is (6 x 4) BFloat16, but must be Float32." },
        { "y type", "y is (6 x 4) BFloat16, but must be Float32." },
        { "no gradient of y", "gradient of y is missing." },
        { "gradient of y", "gradient of y is (5 x 4) Float32 and u is (6 x 4) Float32; they must be the same." },
        { "gradient of u", "gradient of u is (6 x 4) BFloat16 and u is (6 x 4) Float32; they must be the same." },
        { "gradient of delta", "gradient of delta is (6 x 5) Float32 and delta is (6 x 4) Float32; they must be the same." },
        { "gradient of A", "gradient of A is (4 x 4) Float32 and A is (3 x 4) Float32; they must be the same." },
        { "gradient of B", "gradient of B is (6 x 4) Float32 and B is (6 x 3) Float32; they must be the same." },
        { "gradient of constant B", "gradient of B is (6 x 3) Float32 and B is (3 x 4) Float32; they must be the same." },
        { "gradient of C", "gradient of C is (5 x 3) Float32 and C is (6 x 3) Float32; they must be the same." },
        { "gradient of D", "gradient of D is (1 x 3) Float32 and D is (1 x 4) Float32; they must be the same." },
        { "gradient of no D", "D is missing." },
        { "gradient of z", "gradient of z is (6 x 8) Float32 and z is (6 x 4) Float32; they must be the same." },
        { "gradient of no z", "z is missing." },
        {
            "gradient of the delta bias",
            "gradient of the delta bias is (1 x 4) Float16 and delta bias is (1 x 4) Float32; they must be the same."
        },
        { "gradient of the final state", "gradient of the final state is (5 x 4) Float32, but must be (6 or more x 4)." },
        { "gradient of the initial state", "gradient of the initial state is (6 x 4) BFloat16, but must be Float32." },
    };

    [Theory, MemberData(nameof(WrongGradients))]
    public void A_wrong_gradient_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        SelectiveScanForwardArgs forward = Operands(arena) with { Checkpoints = arena.Float32(6, 4) };
        SelectiveScanBackwardArgs right = new()
        {
            Forward = forward,
            GradY = arena.Float32(6, 4),
            GradFinalState = arena.Float32(6, 4),
            GradU = arena.Float32(6, 4),
            GradDelta = arena.Float32(6, 4),
            GradA = arena.Float32(3, 4),
            GradB = arena.Float32(6, 3),
            GradC = arena.Float32(6, 3),
            GradD = arena.Float32(1, 4),
            GradZ = arena.Float32(6, 4),
            GradDeltaBias = arena.Float32(1, 4),
            GradInitialState = arena.Float32(8, 4),
        };
        backend.SelectiveScanBackward(right);
        SelectiveScanBackwardArgs args = BreakGradient(right, wrong, arena);
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.SelectiveScanBackward(args));
        Assert.Equal("SelectiveScanBackward: " + expected, exception.Message);
    }

    private static SelectiveScanBackwardArgs BreakGradient(SelectiveScanBackwardArgs right, string wrong, OperandArena arena) =>
        wrong switch
        {
            "no u" => right with { Forward = right.Forward with { U = default } },
            "A type" => right with { Forward = right.Forward with { A = arena.New(DataType.BFloat16, 3, 4) } },
            "no checkpoints" => right with { Forward = right.Forward with { Checkpoints = default } },
            "checkpoint rows" => right with { Forward = right.Forward with { Checkpoints = arena.Float32(9, 4) } },
            "checkpoint type" => right with { Forward = right.Forward with { Checkpoints = arena.New(DataType.BFloat16, 6, 4) } },
            "y type" => right with { Forward = right.Forward with { Y = arena.New(DataType.BFloat16, 6, 4) } },
            "no gradient of y" => right with { GradY = default },
            "gradient of y" => right with { GradY = arena.Float32(5, 4) },
            "gradient of u" => right with { GradU = arena.New(DataType.BFloat16, 6, 4) },
            "gradient of delta" => right with { GradDelta = arena.Float32(6, 5) },
            "gradient of A" => right with { GradA = arena.Float32(4, 4) },
            "gradient of B" => right with { GradB = arena.Float32(6, 4) },
            "gradient of constant B" => right with { Forward = right.Forward with { ConstantB = true, B = arena.Float32(3, 4) } },
            "gradient of C" => right with { GradC = arena.Float32(5, 3) },
            "gradient of D" => right with { GradD = arena.Float32(1, 3) },
            "gradient of no D" => right with { Forward = right.Forward with { D = default } },
            "gradient of z" => right with { GradZ = arena.Float32(6, 8) },
            "gradient of no z" => right with { Forward = right.Forward with { Z = default } },
            "gradient of the delta bias" => right with { GradDeltaBias = arena.New(DataType.Float16, 1, 4) },
            "gradient of the final state" => right with { GradFinalState = arena.Float32(5, 4) },
            "gradient of the initial state" => right with { GradInitialState = arena.New(DataType.BFloat16, 6, 4) },
            _ => throw new ArgumentOutOfRangeException(nameof(wrong), wrong, "Not a case."),
        };
}
