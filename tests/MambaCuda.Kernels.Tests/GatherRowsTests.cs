namespace MambaCuda.Kernels.Tests;

/// <summary>Chosen rows, of any type, on every backend.</summary>
public class GatherRowsTests
{
    public static TheoryData<string> Backends => TestBackends.Rows;

    public static TheoryData<string, string> Cases => TestBackends.WithEvery(GatherRowsCase.Names);

    [Theory, MemberData(nameof(Cases))]
    public void Rows_are_the_source_s(string backendName, string name)
    {
        using Backend backend = TestBackends.Open(backendName);
        RowInputs inputs = GatherRowsCase.Named(name).Inputs();
        foreach (int gap in new[] { GuardedMatrix.UsualGap, GuardedMatrix.AlignedGap })
        {
            Within.AssertAll(GatherRowsValidation.Compare(inputs, RowRunner.Gather(backend, inputs, gap)), $"gap {gap}");
        }
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_row_outside_the_source_is_named(string name)
    {
        foreach (int row in new[] { -1, 10, int.MaxValue })
        {
            using Backend backend = TestBackends.Open(name);
            using OperandArena arena = new(backend);
            GatherRowsArgs args = new() { Indices = arena.Integers(3, row), Source = arena.Float32(10, 4), Destination = arena.Float32(2, 4) };

            TestBackends.AssertOutOfRange(
                backend, () => backend.GatherRows(args), row, "Row 1 of the destination asks for a row outside|Index 1 is .* not a row of the source");
        }
    }

    [Theory, MemberData(nameof(WrongOperands))]
    public void A_wrong_operand_is_named(string wrong, string expected)
    {
        using CpuBackend backend = new(threads: 1);
        using OperandArena arena = new(backend);
        GatherRowsArgs right = new()
        {
            Indices = arena.Integers(0, 1, 2),
            Source = arena.Float32(10, 4),
            Destination = arena.Float32(3, 4),
        };
        backend.GatherRows(right);
        GatherRowsArgs args = wrong switch
        {
            "no source" => right with { Source = default },
            "no indices" => right with { Indices = default },
            "no destination" => right with { Destination = default },
            "indices type" => right with { Indices = arena.New(DataType.Int64, 3, 1) },
            "indices columns" => right with { Indices = arena.New(DataType.Int32, 3, 2) },
            "destination rows" => right with { Destination = arena.Float32(4, 4) },
            "destination columns" => right with { Destination = arena.Float32(3, 5) },
            _ => right with { Destination = arena.New(DataType.BFloat16, 3, 4) },
        };
        ShapeException exception = Assert.Throws<ShapeException>(() => backend.GatherRows(args));
        Assert.Equal("GatherRows: " + expected, exception.Message);
    }

    public static TheoryData<string, string> WrongOperands => new()
    {
        { "no source", "source is missing." },
        { "no indices", "indices is missing." },
        { "no destination", "destination is missing." },
        { "indices type", "indices is (3 x 1) Int64, but must be Int32." },
        { "indices columns", "indices is (3 x 2) Int32, but must be (3 x 1)." },
        { "destination rows", "destination is (4 x 4) Float32, but must be (3 x 4)." },
        { "destination columns", "destination is (3 x 5) Float32, but must be (3 x 4)." },
        { "destination type", "destination is (3 x 4) BFloat16, but must be Float32." },
    };
}
