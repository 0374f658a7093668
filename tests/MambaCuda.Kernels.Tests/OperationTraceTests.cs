namespace MambaCuda.Kernels.Tests;

/// <summary>What a backend tells whoever asks where the time goes.</summary>
public class OperationTraceTests
{
    /// <summary>The operations that have a kernel.</summary>
    public static TheoryData<string> Operations => ValidationTableTests.Operations;

    [Theory, MemberData(nameof(Operations))]
    public void An_operation_tells_its_name_and_its_work(string operation)
    {
        using CpuBackend backend = new(threads: 1);
        Recorder recorder = new();
        ValidationRow row = ValidationTable.Rows(backend).First(row => row.Operation == operation && row.IsSmall);
        backend.Trace = recorder;
        Assert.True(row.Run(backend).Passed);
        backend.Trace = null;
        Assert.Equal(0, recorder.Depth);
        OperationWork[] told = [.. recorder.Told.Where(one => one.Name == operation).Select(one => one.Work)];
        Assert.NotEmpty(told);
        Assert.All(told, work => Assert.True(work.Bytes > 0 && work.Operations >= 0 && !work.IsTransfer));
        Assert.Contains(recorder.Told, one => one.Name == nameof(Backend.Download) && one.Work.IsTransfer);
        int count = recorder.Told.Count;
        Assert.True(row.Run(backend).Passed);
        Assert.Equal(count, recorder.Told.Count);
    }

    [Fact]
    public void The_work_is_that_of_the_formula()
    {
        using CpuBackend backend = new(threads: 1);
        Recorder recorder = new();
        using DeviceBuffer buffer = backend.Allocate(1 << 12);
        MatrixView x = buffer.Matrix(DataType.Float32, 3, 8), weight = buffer.Matrix(DataType.BFloat16, 5, 8, 512);
        MatrixView y = buffer.Matrix(DataType.Float32, 3, 5, 1024), bias = buffer.Matrix(DataType.Float32, 1, 5, 2048);
        backend.Trace = recorder;
        backend.LinearForward(new LinearForwardArgs { X = x, Weight = weight, Bias = bias, Y = y });
        backend.LinearBackward(new LinearBackwardArgs { GradY = y, Weight = weight, GradX = x, AddToGradX = true });
        backend.Clear(x.ColumnRange(0, 2));
        (string Name, OperationWork Work)[] expected =
        [
            ("LinearForward", new OperationWork((4 * ((3 * 8) + (3 * 5) + 5)) + (2 * 5 * 8)) { Products = 2 * 3 * 8 * 5, Arithmetic = 3 * 5 }),
            ("LinearBackward", new OperationWork((4 * ((3 * 5) + (2 * 3 * 8))) + (2 * 5 * 8)) { Products = 2 * 3 * 8 * 5 }),
            ("Clear", new OperationWork(4 * 3 * 2)),
        ];
        Assert.Equal(expected, recorder.Told);
        Assert.Equal((2 * 3 * 8 * 5) + (3 * 5), recorder.Told[0].Work.Operations);
    }

    private sealed class Recorder : IOperationTrace
    {
        public List<(string Name, OperationWork Work)> Told { get; } = [];

        public int Depth { get; private set; }

        public void BeginPart(string name, int number)
        {
        }

        public void EndPart()
        {
        }

        public void BeginOperation(string name, OperationWork work)
        {
            Told.Add((name, work));
            Depth++;
        }

        public void EndOperation() => Depth--;
    }
}
