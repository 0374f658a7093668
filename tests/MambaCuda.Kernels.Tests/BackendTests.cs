using MambaCuda.Driver;
using MambaCuda.Driver.Tests;
using MambaCuda.Testing;

namespace MambaCuda.Kernels.Tests;

/// <summary>What every backend does beside the operations: memory, copies, and views that it cannot read.</summary>
public class BackendTests
{
    public static TheoryData<string> Backends => [.. TestBackends.Names];

    [Theory, MemberData(nameof(Backends))]
    public void Memory_starts_as_zeros_and_comes_back_as_written(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using DeviceBuffer buffer = backend.Allocate(40);
        MatrixView view = buffer.Matrix(DataType.Float32, 5, 2);
        float[] values = new float[10];
        backend.Download(view, values.AsSpan());
        Assert.All(values, value => Assert.Equal(0, value));
        backend.Upload<float>([1, 2, 3, 4], view.RowRange(3, 2));
        backend.Download(view, values.AsSpan());
        Assert.Equal([0, 0, 0, 0, 0, 0, 1, 2, 3, 4], values);
        byte[] bytes = new byte[4];
        backend.Download(view.RowRange(3, 1).ColumnRange(0, 1), bytes.AsSpan());
        Assert.Equal(1f, BitConverter.ToSingle(bytes));
    }

    [Theory, MemberData(nameof(Backends))]
    public void Copy_and_clear_leave_gaps_alone(string name)
    {
        const int Rows = 5, Columns = 7;
        using Backend backend = TestBackends.Open(name);
        float[] values = [.. Enumerable.Range(1, Rows * Columns).Select(value => (float)value)];
        using GuardedMatrix source = GuardedMatrix.Input(backend, DataType.Float32, Rows, Columns, values, gap: 4);
        using GuardedMatrix destination = GuardedMatrix.Output(backend, DataType.Float32, Rows, Columns);
        backend.Copy(source.View, destination.View);
        destination.AssertGuardsIntact("destination");
        Assert.Equal(values, destination.Values());
        backend.Clear(destination.View);
        destination.AssertGuardsIntact("destination");
        Assert.All(destination.Values(), value => Assert.Equal(0, value));
        source.AssertUnchanged("source");
        backend.Clear(default);
    }

    /// <summary>The host device's limits stand in the environment that a process starts with.</summary>
    [Fact]
    public async Task Memory_that_is_not_there_is_told_alike_on_the_device_and_pinned_on_the_host()
    {
        Assert.SkipWhen(HostDevice.Folder is null, HostDevice.Problem ?? "");
        Dictionary<string, string?> variables = new(HostDevice.Variables(HostDevice.Folder)) { ["MAMBACUDA_HOST_MEMORY"] = "1000000" };
        string device = await ChildProcess.Run(AskForMuch, variables);
        Assert.Contains("Asked for 2,000,000 bytes; of the device's 1,000,000 bytes, ", device, StringComparison.Ordinal);
        variables["MAMBACUDA_HOST_PINNED_MEMORY"] = "8";
        string host = await ChildProcess.Run(AskForMuch, variables);
        Assert.Contains("while allocating pinned host memory", host, StringComparison.Ordinal);
        Assert.Contains("or use the CPU.", host, StringComparison.Ordinal);
    }

    private static void AskForMuch()
    {
        InsufficientMemoryException exception = Assert.Throws<InsufficientMemoryException>(() =>
        {
            using CudaBackend backend = new();
            backend.Allocate(2_000_000);
        });
        Assert.IsType<DeviceOutOfMemoryException>(exception.InnerException);
        Console.WriteLine(exception.Message);
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_copy_to_another_shape_is_refused(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using OperandArena arena = new(backend);
        string Message(MatrixView source, MatrixView destination) =>
            Assert.Throws<ShapeException>(() => backend.Copy(source, destination)).Message;
        Assert.Equal(
            "Copy: source is (2 x 3) Float32 and destination is (3 x 2) Float32; they must be the same.",
            Message(arena.Float32(2, 3), arena.Float32(3, 2)));
        Assert.Equal(
            "Copy: source is (2 x 3) Float32 and destination is (2 x 3) Int32; they must be the same.",
            Message(arena.Float32(2, 3), arena.New(DataType.Int32, 2, 3)));
        Assert.Equal("Copy: source is missing.", Message(default, arena.Float32(2, 3)));
        Assert.Equal("Copy: destination is missing.", Message(arena.Float32(2, 3), default));
    }

    [Theory, MemberData(nameof(Backends))]
    public void A_transfer_that_does_not_fit_is_refused(string name)
    {
        using Backend backend = TestBackends.Open(name);
        using OperandArena arena = new(backend);
        MatrixView view = arena.Float32(2, 3);
        MatrixView halves = arena.New(DataType.Float16, 2, 3);
        void Refused<T>(int count, MatrixView view) where T : unmanaged
        {
            string upload = Assert.Throws<ShapeException>(() => backend.Upload<T>(new T[count], view)).Message;
            string download = Assert.Throws<ShapeException>(() => backend.Download(view, new T[count].AsSpan())).Message;
            Assert.Contains(view.ToString(), upload, StringComparison.Ordinal);
            Assert.Equal(upload["Upload".Length..], download["Download".Length..]);
        }

        Refused<float>(5, view);
        Refused<float>(7, view);
        Refused<double>(3, view);
        Refused<ushort>(12, view);
        Refused<byte>(23, view);

        // As large in memory as two bytes, though one byte to a foreign function; and four bytes there, though one in memory.
        Refused<char>(12, halves);
        Refused<bool>(3, arena.New(DataType.Int32, 1, 3));
        Refused<float>(4, arena.Float32(2, 3).ColumnRange(0, 2));
        Assert.Equal("Upload: view is missing.", Assert.Throws<ShapeException>(() => backend.Upload<float>([], default)).Message);
        Assert.Equal("Download: view is missing.", Assert.Throws<ShapeException>(() => backend.Download<float>(default, [])).Message);
        backend.Upload<ushort>(new ushort[6], halves);
        backend.Upload<byte>(new byte[24], view);
    }

    [Theory, MemberData(nameof(Backends))]
    public void Captured_operations_run_when_they_are_run_and_read_what_is_there_then(string name)
    {
        using Backend backend = TestBackends.Open(name);
        if (!backend.CanCapture)
        {
            Assert.Contains(
                "does not capture", Assert.Throws<NotSupportedException>(() => backend.Capture(() => { })).Message, StringComparison.Ordinal);
            return;
        }

        using DeviceBuffer buffer = backend.Allocate(64);
        MatrixView source = buffer.Matrix(DataType.Float32, 1, 4), copy = buffer.Matrix(DataType.Float32, 1, 4, 16);
        MatrixView norm = buffer.Matrix(DataType.Float32, 1, 1, 32);
        void Operations()
        {
            backend.Copy(source, copy);
            backend.GradientNorm(new GradientNormArgs { Gradients = copy, Norm = norm });
            backend.Clear(source);
        }

        Operations();
        using CapturedOperations captured = backend.Capture(Operations);
        foreach (float value in new[] { 1f, 3f })
        {
            backend.Upload<float>([value, value, value, value], source);
            Assert.Equal([value, value, value, value], Read(source));
            captured.Run();
            Assert.Equal([value, value, value, value], Read(copy));
            Assert.Equal([2 * value], Read(norm));
            Assert.Equal([0, 0, 0, 0], Read(source));
        }

        // What waits for the host is refused, and the backend goes on.
        Assert.Throws<CudaException>(() => backend.Capture(() => backend.Upload<float>([0, 0, 0, 0], source)));

        // What another thread spoils is captured again, and what stays spoiled is not for ever.
        int calls = 0;
        using CapturedOperations second = backend.Capture(() =>
        {
            Operations();
            if (++calls < 3)
            {
                throw new CudaException(CudaError.StreamCaptureInvalidated, "testing");
            }
        });
        Assert.Equal(3, calls);
        Assert.Throws<CudaException>(() => backend.Capture(() => throw new CudaException(CudaError.StreamCaptureInvalidated, "testing")));
        backend.Upload<float>([2, 2, 2, 2], source);
        captured.Run();
        Assert.Equal([4], Read(norm));
        Assert.True(captured.IsCurrent);
        backend.Allocate(16).Dispose();
        Assert.False(captured.IsCurrent);
        Assert.Contains("capture them again", Assert.Throws<InvalidOperationException>(captured.Run).Message, StringComparison.Ordinal);

        float[] Read(MatrixView view)
        {
            float[] values = new float[view.Columns];
            backend.Download<float>(view, values);
            return values;
        }
    }

    [Fact]
    public void A_buffer_that_was_given_back_is_not_read()
    {
        using CpuBackend backend = new(threads: 2);
        DeviceBuffer buffer = backend.Allocate(4096);
        MatrixView view = buffer.Matrix(DataType.Float32, 8, 8);
        buffer.Dispose();
        buffer.Dispose();
        using OperandArena arena = new(backend);
        Assert.Throws<ObjectDisposedException>(() => backend.Download(view, new float[64].AsSpan()));
        Assert.Throws<ObjectDisposedException>(() => backend.Clear(view));
        Assert.Throws<ObjectDisposedException>(
            () => backend.LinearForward(new LinearForwardArgs { X = arena.Float32(8, 8), Weight = view, Y = arena.Float32(8, 8) }));
        Assert.Throws<ObjectDisposedException>(() => backend.AddRmsNormForward(
            new AddRmsNormForwardArgs { Residual = arena.Float32(8, 8), Weight = arena.Float32(1, 8), Y = view }));
    }

    [Fact]
    public void Another_backend_s_memory_is_refused_by_name()
    {
        using CpuBackend backend = new(threads: 2);
        using ForeignBuffer foreign = new(backend);
        using OperandArena arena = new(backend);
        ArgumentException exception = Assert.Throws<ArgumentException>(() => backend.LinearForward(
            new LinearForwardArgs { X = arena.Float32(8, 8), Weight = foreign.Matrix(DataType.Float32, 8, 8), Y = arena.Float32(8, 8) }));
        Assert.Contains("the cpu backend cannot read it", exception.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => backend.Download(foreign.Matrix(DataType.Float32, 1, 1), new float[1].AsSpan()));
    }

    [Fact]
    public void The_cpu_backend_says_what_it_is()
    {
        using CpuBackend backend = new(threads: 3);
        Assert.Equal("cpu", backend.Name);
        Assert.Equal(3, backend.Threads);
        Assert.Equal(DataType.Float32, backend.ActivationType);
        Assert.Matches("^3 threads, [0-9]+-bit vectors$", backend.Description);
        using CpuBackend all = new();
        Assert.Equal(Environment.ProcessorCount, all.Threads);
        backend.Synchronize();
    }

    [Fact]
    public void A_closed_backend_computes_nothing()
    {
        CpuBackend backend = new(threads: 2);
        using OperandArena arena = new(backend);
        LinearForwardArgs args = new() { X = arena.Float32(8, 8), Weight = arena.Float32(8, 8), Y = arena.Float32(8, 8) };
        backend.LinearForward(args);
        backend.Dispose();
        backend.Dispose();
        Assert.Throws<ObjectDisposedException>(() => backend.LinearForward(args));
    }

    [Fact]
    public void The_operations_of_a_decode_step_allocate_nothing()
    {
        const int Batch = 3, Channels = 200, StateSize = 16, Vocabulary = 500;
        using CpuBackend backend = new(threads: 2);
        using OperandArena arena = new(backend);
        SequenceLayout sequences = SequenceLayout.Uniform(Batch, 1);
        MatrixView tokens = arena.New(DataType.Int32, Batch, 1);
        MatrixView x = arena.Float32(Batch, Channels), y = arena.Float32(Batch, Channels), logits = arena.Float32(Batch, Vocabulary);
        MatrixView b = arena.Float32(Batch, StateSize), perChannel = arena.Float32(1, Channels), weight = arena.Float32(4, Channels);
        MatrixView convState = arena.Float32(Batch * 3, Channels), scanState = arena.Float32(Batch * StateSize, Channels);
        MatrixView a = arena.Float32(StateSize, Channels), output = arena.Float32(Batch, 1);
        MatrixView table = arena.New(DataType.BFloat16, Vocabulary, Channels);
        void Step()
        {
            backend.EmbeddingForward(new() { TokenIds = tokens, Weight = table, Output = x });
            backend.AddRmsNormForward(new() { X = y, Residual = x, Weight = perChannel, Epsilon = 1e-5f, Y = y });
            backend.CausalConv1dUpdate(new()
            {
                X = x,
                Weight = weight,
                Sequences = sequences,
                InitialState = convState,
                FinalState = convState,
                Silu = true,
                Y = y,
            });
            backend.SelectiveStateUpdate(new()
            {
                U = y,
                Delta = x,
                A = a,
                B = b,
                C = b,
                Z = x,
                DeltaSoftplus = true,
                Sequences = sequences,
                InitialState = scanState,
                FinalState = scanState,
                Y = y,
            });
            backend.GatherRows(new() { Source = y, Indices = tokens, Destination = x });
            backend.LinearForward(new() { X = x, Weight = table, Y = logits });
            backend.LogProbabilities(new() { Logits = logits, TokenIds = tokens, Output = output });
        }

        for (int i = 0; i < 100; i++)
        {
            Step();
        }

        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 100; i++)
            {
                Step();
            }
        }));
    }

    [Fact]
    public void A_negative_number_of_threads_is_refused() => Assert.Throws<ArgumentOutOfRangeException>(() => new CpuBackend(-1));

    /// <summary>Memory that the cpu backend did not allocate and cannot address.</summary>
    private sealed class ForeignBuffer(Backend backend) : DeviceBuffer(backend, 4096)
    {
        protected override void Dispose(bool disposing)
        {
        }
    }
}
