namespace MambaCuda.Driver.Tests;

/// <summary>Arguments and errors as they cross to the driver and back.</summary>
public class DriverCallTests
{
    private static CudaKernel LoadKernel(CudaContext context) => context.LoadModule("image"u8).GetKernel("scan");

    private static void LaunchWithAttributes()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        CudaKernel kernel = LoadKernel(context);
        KernelArguments arguments = new();
        LaunchConfiguration configuration = new(new Dim3(8, 4, 2), new Dim3(32, 3), 1024)
        {
            Cluster = new Dim3(4, 2, 1),
            ProgrammaticStreamSerialization = true,
            Cooperative = true,
            Priority = -5,
        };
        kernel.Launch(CudaStream.Adopt(context, 0x1234), configuration, arguments.Add(7).Add(2.5));
        arguments.Clear();
        kernel.Launch(context.DefaultStream, new LaunchConfiguration(1, 1), arguments.Add(-1).Add(0.125));
        context.Device.CreateMemoryPool();
        context.CreateEvent(timing: false, blocking: true);
        CudaGraphInstance instance = context.DefaultStream.Capture(() => { }).Instantiate();
        Console.WriteLine($"update {instance.Update(context.DefaultStream.Capture(() => { }))}");
    }

    private static void LaunchWrongly()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        CudaKernel kernel = LoadKernel(context);
        CudaStream stream = context.DefaultStream;
        Print<ArgumentException>(() => kernel.Launch(stream, new LaunchConfiguration(1, 1), 5));
        Print<ArgumentException>(() => kernel.Launch(stream, new LaunchConfiguration(1, 1), new KernelArguments().Add(1.0).Add(1)));
        Print<ArgumentException>(() => kernel.Launch(stream, new LaunchConfiguration(1, 1)));
        Print<ArgumentException>(() => kernel.Launch(stream, new LaunchConfiguration(0, 1), new KernelArguments().Add(1).Add(1.0)));
        LaunchConfiguration odd = new LaunchConfiguration(6, 1) with { Cluster = 4 };
        Print<ArgumentException>(() => kernel.Launch(stream, odd, new KernelArguments().Add(1).Add(1.0)));
    }

    private static void Fail()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        CudaStream stream = context.CreateStream();
        foreach (Action action in (Action[])[() => context.Allocate(5000), () => stream.Allocate(6000), () => context.AllocatePinned(7000)])
        {
            DeviceOutOfMemoryException exception = Print<DeviceOutOfMemoryException>(action);
            Console.WriteLine($"{exception.RequestedBytes} {exception.FreeBytes} {exception.TotalBytes} {exception.Error}");
        }

        Print<CudaException>(() => context.LoadModule("broken"u8));
        Print<ArgumentOutOfRangeException>(() => context.Allocate(100).Slice(60, 41));
        Print<ArgumentOutOfRangeException>(() => context.Allocate(100).Slice(long.MaxValue, long.MaxValue));
        Print<ArgumentException>(() => context.CreateStream().Copy(context.Allocate(8), context.Allocate(4)));
        Print<ArgumentException>(() => context.CreateStream().Fill(context.Allocate(6), 1u));
        Print<ArgumentOutOfRangeException>(() => CudaDevice.Get(3));
    }

    [Fact]
    public async Task Launch_and_other_structs_have_the_layout_of_cuda_h()
    {
        string output = await StubDriver.Run(LaunchWithAttributes);
        string[] expected =
        [
            "launch f0 grid 8 4 2 block 32 3 1 shared 1024 stream 1234 extra 0",
            "cluster 4 2 1", "attribute 6 1", "attribute 2 1", "attribute 8 -5",
            "arguments 7 2.5", "launch f0 grid 1 1 1 block 1 1 1 shared 0 stream 0 extra 0", "arguments -1 0.125",
            "pool type 1 handles 0 location 1/0 max 0 usage 0 rest 0", "flags 3", "update TopologyChanged",
        ];
        string[] lines = output.Split('\n');
        Assert.Equal(expected, lines.Where(line => expected.Contains(line)));
    }

    [Fact]
    public async Task Arguments_that_do_not_fit_the_kernel_are_refused()
    {
        string output = await StubDriver.Run(LaunchWrongly);
        Assert.Contains("scan takes 2 argument(s) of 4, 8 bytes, but was given one of 4 bytes (Int32).", output, StringComparison.Ordinal);
        Assert.Contains("scan takes 2 argument(s) of 4, 8 bytes, but was given 2 of 8, 4 bytes.", output, StringComparison.Ordinal);
        Assert.Contains("scan takes 2 argument(s) of 4, 8 bytes, but was given none.", output, StringComparison.Ordinal);
        Assert.Contains("Grid is 0x1x1; every axis has at least 1.", output, StringComparison.Ordinal);
        Assert.Contains("A grid of 6x1x1 blocks cannot be divided into clusters of 4x1x1.", output, StringComparison.Ordinal);
        Assert.DoesNotContain("launch", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Errors_say_what_was_done_and_what_to_know()
    {
        string output = await StubDriver.Run(Fail, ("STUB_MEMORY", "4096"));
        Assert.Contains("CUDA_ERROR_OUT_OF_MEMORY while allocating memory on device 0 (Stub): out of memory. Asked for 5,000 bytes; "
            + "of the device's 8,589,934,592 bytes, 1,000 are free.", output, StringComparison.Ordinal);
        Assert.Contains("5000 1000 8589934592 OutOfMemory", output, StringComparison.Ordinal);
        Assert.Contains("while allocating memory in the order of a stream", output, StringComparison.Ordinal);
        Assert.Contains("while allocating pinned host memory", output, StringComparison.Ordinal);
        Assert.Contains("CUDA_ERROR_INVALID_PTX while loading a module of 6 bytes on device 0 (Stub): a PTX JIT compilation failed. "
            + "ptxas fatal   : this is broken", output, StringComparison.Ordinal);
        Assert.Contains("41 bytes at byte 60 are not inside 100 bytes.", output, StringComparison.Ordinal);
        Assert.Contains("A copy of 8 bytes to 4 bytes: both must be the same", output, StringComparison.Ordinal);
        Assert.Contains("6 bytes are no whole number of elements of 4 bytes.", output, StringComparison.Ordinal);
        Assert.Contains("There is no device 3; this machine has 1, counted from 0.", output, StringComparison.Ordinal);
    }

    private static T Print<T>(Action action) where T : Exception
    {
        T exception = Assert.ThrowsAny<T>(action);
        Console.WriteLine(exception.Message);
        return exception;
    }
}
