namespace MambaCuda.Driver.Tests;

[Collection(nameof(Gpu))]
public class DeviceTests(Gpu gpu)
{
    [Fact]
    public void A_device_tells_what_it_is()
    {
        CudaDevice device = gpu.Context.Device;
        Assert.NotEmpty(device.Name);
        Assert.Matches("^[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.0$", device.PciBusId);
        Assert.True(device.ComputeCapability >= new ComputeCapability(5, 0), $"{device.ComputeCapability}");
        Assert.InRange(device.MultiprocessorCount, 1, 1000);
        Assert.InRange(device.TotalMemory, 1L << 30, 1L << 50);
        Assert.NotEqual(Guid.Empty, device.Uuid);
        Assert.Equal(32, device.Attribute(CudaDeviceAttribute.WarpSize));
        Assert.Equal(device.ComputeCapability.Major, device.Attribute(CudaDeviceAttribute.ComputeCapabilityMajor));
        Assert.InRange(gpu.Context.Memory.FreeBytes, 1, gpu.Context.Memory.TotalBytes);
        Assert.True(CudaDriver.Version >= CudaDriver.MinimumVersion);
        Assert.Equal(device.Uuid, CudaDevice.All[0].Uuid);
    }

    [Fact]
    public void The_report_names_driver_compiler_and_device()
    {
        CudaContext context = gpu.Context;
        CudaReport report = CudaReport.Create();
        Assert.True(report.IsUsable);
        Assert.NotNull(report.DriverSearch.Path);
        Assert.Contains(context.Device.Name, report.ToString(), StringComparison.Ordinal);
        TestContext.Current.TestOutputHelper!.WriteLine(report.ToString());
    }

    [Fact]
    public void Methods_leave_the_thread_without_a_current_context()
    {
        CudaContext context = gpu.Context;
        Assert.Null(CudaContext.AdoptCurrent());
        using (DeviceMemory memory = context.Allocate(100))
        {
            context.DefaultStream.Clear(memory);
            context.Synchronize();
        }

        Assert.Null(CudaContext.AdoptCurrent());
        using (context.Activate())
        {
            Assert.Equal(context.Handle, CudaContext.AdoptCurrent()!.Handle);
            using (context.Activate())
            {
                _ = context.Memory;
            }

            Assert.Equal(context.Handle, CudaContext.AdoptCurrent()!.Handle);
        }

        Assert.Null(CudaContext.AdoptCurrent());
    }

    [Fact]
    public void What_was_adopted_lives_on_after_our_dispose()
    {
        CudaContext context = gpu.Context;
        using CudaStream stream = context.CreateStream();
        using CudaEvent happened = context.CreateEvent();
        using DeviceMemory memory = context.Allocate<int>(4);

        CudaContext adopted = CudaContext.Adopt(context.Handle);
        CudaStream adoptedStream = CudaStream.Adopt(adopted, stream.Handle);
        CudaEvent adoptedEvent = CudaEvent.Adopt(adopted, happened.Handle);
        DeviceMemory adoptedMemory = DeviceMemory.Adopt(adopted, memory.Address, memory.ByteLength);
        Assert.Equal(context.Device.Uuid, adopted.Device.Uuid);
        adoptedStream.Upload<int>([1, 2, 3, 4], adoptedMemory);
        adoptedStream.Record(adoptedEvent);
        foreach (IDisposable one in (IDisposable[])[adoptedMemory, adoptedEvent, adoptedStream, adopted])
        {
            one.Dispose();
        }

        int[] read = new int[4];
        happened.Synchronize();
        stream.Download<int>(memory, read);
        Assert.Equal([1, 2, 3, 4], read);
    }

    [Fact]
    public void The_primary_context_lives_until_the_last_part_is_given_back()
    {
        CudaContext context = gpu.Context;
        CudaContext second = context.Device.RetainPrimaryContext();
        Assert.Equal(context.Handle, second.Handle);
        second.Dispose();
        second.Dispose();
        using DeviceMemory memory = context.Allocate(100);
        context.Synchronize();
    }

    [Fact]
    public void A_handle_that_is_no_context_is_an_error() => Assert.Throws<ArgumentException>(() =>
    {
        _ = gpu.Context;
        CudaContext.Adopt(0);
    });

    private static void WriteNowhere()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        CudaStream stream = context.CreateStream();
        DeviceMemory memory = context.Allocate(100);
        Gpu.Load(context).GetKernel("write_nowhere").Launch(stream, new LaunchConfiguration(1, 1));
        CudaException exception = Assert.Throws<CudaException>(stream.Synchronize);
        Assert.Equal(CudaError.IllegalAddress, exception.Error);
        Assert.Equal("CUDA_ERROR_ILLEGAL_ADDRESS", exception.ErrorName);
        Assert.Equal("an illegal memory access was encountered", exception.ErrorText);
        Assert.Equal("CUDA_ERROR_ILLEGAL_ADDRESS while waiting for a stream: an illegal memory access was encountered.", exception.Message);

        // Giving back what is lost with the context does not throw.
        memory.Dispose();
        stream.Dispose();
    }

    [Fact]
    public async Task A_kernels_error_has_CUDAs_name_and_text_and_what_was_done()
    {
        Gpu.SkipWithout();
        await ChildProcess.Run(WriteNowhere, new Dictionary<string, string?>());
    }
}
