using System.Reflection;
using MambaCuda.Driver;

namespace MambaCuda.Kernels.Tests;

/// <summary>The table of mamba-cuda validate: it has every operation, its rows pass, and they fail where something is wrong.</summary>
public class ValidationTableTests
{
    /// <summary>The operations that have a kernel.</summary>
    public static TheoryData<string> Operations =>
        [.. OperationFilesTests.Operations.Select(row => row.Data).Where(HasKernel)];

    public static TheoryData<string, string> BackendsAndOperations
    {
        get
        {
            TheoryData<string, string> data = [];
            foreach (string operation in Operations.Select(row => row.Data))
            {
                foreach (string backend in TestBackends.NamesWith(operation))
                {
                    data.Add(backend, operation);
                }
            }

            return data;
        }
    }

    public static TheoryData<string, Spoiling, string> Faults
    {
        get
        {
            TheoryData<string, Spoiling, string> data = [];
            foreach (string operation in Operations.Select(row => row.Data))
            {
                data.Add(operation, Spoiling.WrongSign, "is off by");
                data.Add(operation, Spoiling.NotANumber, "NaN");
                data.Add(operation, Spoiling.WriteBeside, "GuardException: Memory was changed after row 0");
                data.Add(operation, Spoiling.Failure, "InvalidOperationException: The operation is spoiled.");
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Operations))]
    public void Every_operation_has_rows(string operation)
    {
        using CpuBackend backend = new(threads: 1);
        Assert.True(
            ValidationTable.Rows(backend).Any(row => row.Operation == operation),
            $"{operation} has no row: write src/MambaCuda.Validation/Suites/{operation}Validation.cs, a line of ValidationTable.Suites.");
    }

    [Fact]
    public void No_two_rows_have_one_name_and_some_are_small()
    {
        using CpuBackend backend = new(threads: 1);
        ValidationRow[] rows = [.. ValidationTable.Rows(backend)];
        Assert.Equal(rows.Length, rows.Select(row => (row.Operation, row.Case, row.Variant)).Distinct().Count());
        Assert.All(rows.GroupBy(row => row.Operation), operation => Assert.Contains(operation, row => row.IsSmall));
        Assert.Contains(rows, row => !row.IsSmall);
    }

    [Theory, MemberData(nameof(BackendsAndOperations))]
    public void A_row_passes_and_names_its_kernels(string backendName, string operation)
    {
        using Backend backend = TestBackends.Open(backendName);
        ValidationResult result = SmallRows(backend, operation).First().Run(backend);
        Assert.True(result.Passed, $"{result.Problem}{result.Worst}");
        Assert.Equal(backend.ActivationType, result.Type);
        Assert.Equal(backend.Name != "cpu", result.Launches.Count > 0);
        Assert.Null((backend as CudaBackend)?.OnLaunch);
        Assert.All(result.Launches, launch => Assert.Matches("^(mamba::|cublasLtMatmul$)", launch.Kernel));
        Assert.NotEqual("", result.Variant);
    }

    [Theory, MemberData(nameof(Faults))]
    public void A_fault_fails_its_row(string operation, Spoiling spoiling, string expected)
    {
        using SpoiledBackend backend = new(spoiling);

        // The first may have a result of zero, whose sign is not in the bound.
        ValidationResult result = SmallRows(backend, operation).Last().Run(backend);
        Assert.False(result.Passed);
        Assert.Contains(expected, $"{result.Problem}{result.Worst}", StringComparison.Ordinal);
        using SpoiledBackend whole = new(Spoiling.None);
        Assert.True(SmallRows(whole, operation).Last().Run(whole).Passed);
    }

    /// <summary>Of cards from small to large: a tile that no row launched would never be validated.</summary>
    [Theory, InlineData(4), InlineData(40), InlineData(108), InlineData(132), InlineData(188)]
    public void Rows_of_the_scan_launch_each_of_its_tiles(int multiprocessors)
    {
        const int SharedBytes = 227 * 1024;
        IEnumerable<SelectiveScanCase> cases =
            [.. SelectiveScanCase.All, .. SelectiveScanCase.Long, .. SelectiveScanCase.Wide(multiprocessors)];
        List<(ScanShape Shape, bool Aligned, bool InChunks)> launched = [];
        foreach (SelectiveScanCase row in cases.Where(row => !row.ConstantB && !row.ConstantC))
        {
            foreach (RowPlacement placement in RowPlacement.For(row.Channels))
            {
                ScanPlanner planner = new()
                {
                    Multiprocessors = multiprocessors,
                    SharedBytes = SharedBytes,
                    Aligned = placement == RowPlacement.Aligned,
                    BatchInvariant = false,
                };
                PackedSequences sequences = row.Sequences;
                SequenceLayout layout = SequenceLayout.Packed(sequences.Lengths, sequences.Slots);
                if (planner.Plan(row.StateSize, layout, row.Channels * row.Copies / row.Groups, row.Groups) is { } plan)
                {
                    launched.Add((plan.Shape, plan.Aligned, plan.Chunks > 1));
                }
            }
        }

        Assert.All(ScanPlanner.Shapes, shape => Assert.Contains((shape, true, false), launched));
        Assert.All(ScanPlanner.Shapes.Where(ScanPlanner.IsForMany), shape =>
        {
            Assert.Contains((shape, false, false), launched);
            Assert.Contains((shape, true, true), launched);
            Assert.Contains((shape, false, true), launched);
        });
    }

    [Fact]
    public void A_launch_is_told_in_words()
    {
        using CudaBackend backend = (CudaBackend)TestBackends.Open("cuda-float32");
        SelectiveScanInputs inputs = SelectiveScanCase.Long.Single(row => row.StateSize == 16).Inputs();
        List<KernelLaunch> launches = [];
        backend.OnLaunch = launches.Add;
        SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        int chunks = launches[0].Grid.Y;
        Assert.True(chunks > 1);
        Assert.Equal([$"chunk ends / {chunks}", "chunk states", $"2 lanes 64x32 / {chunks}"], launches.Select(launch => launch.ToString()));
        Assert.Equal(
            "mamba::selective_scan_forward<float, mamba::ScanShape<16, 2, 64, 32, 4, 8>, mamba::ScanPart::whole, false>",
            launches[2].Kernel);
        Assert.Equal(new Dim3(256), launches[2].Block);
        backend.OnLaunch = null;
        SelectiveScanRunner.Run(backend, inputs, new ScanPlacement());
        Assert.Equal(3, launches.Count);
    }

    [Fact]
    public void An_error_is_within_its_bound_or_not()
    {
        Assert.True(new OutputError("y", 1, 1).IsWithin);
        Assert.True(new OutputError("y", 0, 0).IsWithin);
        Assert.False(new OutputError("y", 1.01, 1).IsWithin);
        Assert.False(new OutputError("y", double.NaN, 1).IsWithin);
        Assert.False(new OutputError("y", 0, double.NaN).IsWithin);
        Assert.False(new OutputError("y", 1, double.PositiveInfinity).IsWithin);
        Assert.True(OutputError.Exactly("y", [1, float.NaN], [1, float.NaN]).IsWithin);
        Assert.False(OutputError.Exactly("y", [0], [-0f]).IsWithin);
        Assert.False(OutputError.Exactly("y", [1], [float.NaN]).IsWithin);
        OutputError wrong = new("y", 2, 1), none = new("y", double.NaN, 1);
        Assert.Equal(none, OutputError.Worse(wrong, none));
        Assert.Equal(none, OutputError.Worse(none, wrong));
        Assert.Equal(wrong, OutputError.Worse(new OutputError("y", 1, 1), wrong));
    }

    private static IEnumerable<ValidationRow> SmallRows(Backend backend, string operation) =>
        ValidationTable.Rows(backend).Where(row => row.Operation == operation && row.IsSmall);

    private static bool HasKernel(string operation) =>
        typeof(CudaBackend).GetMethod($"{operation}Core", BindingFlags.NonPublic | BindingFlags.Instance)!.DeclaringType
            == typeof(CudaBackend);
}
