namespace MambaCuda.Driver.Tests;

/// <summary>What is destroyed, and what is not; seen from the driver's side.</summary>
public class OwnershipTests
{
    private static void DisposeOwned()
    {
        CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        CudaStream stream = context.CreateStream();
        CudaEvent happened = context.CreateEvent();
        DeviceMemory plain = context.Allocate(100);
        DeviceMemory ordered = stream.Allocate(100);
        PinnedMemory pinned = context.AllocatePinned(100);
        PinnedMemory registered = context.Pin(0x77, 100);
        MemoryPool pool = context.Device.CreateMemoryPool();
        CudaModule module = context.LoadModule("image"u8);
        CudaGraph graph = stream.Capture(() => { });
        CudaGraphInstance instance = graph.Instantiate();
        Console.WriteLine("dispose");
        IDisposable[] all = [instance, graph, module, pool, registered, pinned, ordered, plain, happened, stream, context];
        foreach (IDisposable one in all.Concat(all))
        {
            one.Dispose();
        }

        Assert.Throws<ObjectDisposedException>(() => plain.Address);
        Assert.Throws<ObjectDisposedException>(() => plain.Slice(0, 1).Address);
        Assert.Throws<ObjectDisposedException>(() => stream.Handle);
        Assert.Throws<ObjectDisposedException>(() => context.Allocate(1));
    }

    private static void DisposeAdopted()
    {
        CudaContext context = CudaContext.Adopt(0xabc);
        CudaStream stream = CudaStream.Adopt(context, 0x5);
        CudaEvent happened = CudaEvent.Adopt(context, 0x6);
        DeviceMemory memory = DeviceMemory.Adopt(context, 0x7000, 10);
        DeviceMemory global = context.LoadModule("image"u8).GetGlobal("g");
        MemoryPool pool = context.Device.DefaultMemoryPool;
        Assert.Equal(12, global.ByteLength);
        Console.WriteLine("dispose");
        foreach (IDisposable one in (IDisposable[])[memory, global, pool, happened, stream, context.DefaultStream, context])
        {
            one.Dispose();
        }
    }

    private static void DisposeContextFirst()
    {
        CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        DeviceMemory memory = context.Allocate(100);
        Console.WriteLine("dispose");
        context.Dispose();
        memory.Dispose();
    }

    private static void DisposeStreamFirst()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        CudaStream stream = context.CreateStream();
        DeviceMemory memory = stream.Allocate(100);
        DeviceMemory other = stream.Allocate(100);
        CudaStream later = context.CreateStream();
        Assert.Throws<InvalidOperationException>(() => context.Allocate(1).Free(later));
        Console.WriteLine("dispose");
        other.Free(later);
        stream.Dispose();
        memory.Dispose();
        other.Dispose();
    }

    [Fact]
    public async Task Each_owner_gives_back_what_it_made_and_only_once()
    {
        string output = await StubDriver.Run(DisposeOwned);
        string[] calls = After(output);
        string[] expected =
        [
            "cuGraphExecDestroy", "cuGraphDestroy", "cuModuleUnload", "cuMemPoolDestroy", "cuMemHostUnregister 77", "cuMemFreeHost",
            "cuMemFreeAsync", "cuMemFree_v2", "cuEventDestroy_v2", "cuStreamDestroy_v2", "cuDevicePrimaryCtxRelease_v2 0",
        ];
        Assert.Equal(expected.Length, calls.Length);
        Assert.All(expected.Zip(calls), pair => Assert.StartsWith(pair.First, pair.Second, StringComparison.Ordinal));

        // The handle that was made is the one that is given back.
        string made = output.Split('\n').First(line => line.StartsWith("cuMemAlloc_v2", StringComparison.Ordinal)).Split(' ')[1];
        Assert.Contains($"cuMemFree_v2 {made}", calls);
    }

    [Fact]
    public async Task What_was_adopted_is_left_alone() => Assert.Empty(After(await StubDriver.Run(DisposeAdopted)));

    [Fact]
    public async Task Memory_of_a_context_that_is_gone_is_not_touched() =>
        Assert.Equal(["cuDevicePrimaryCtxRelease_v2 0"], After(await StubDriver.Run(DisposeContextFirst)));

    [Fact]
    public async Task Stream_ordered_memory_is_freed_on_the_named_stream_or_without_one()
    {
        string[] calls = After(await StubDriver.Run(DisposeStreamFirst));
        string[] expected = ["cuMemFreeAsync", "cuStreamDestroy_v2", "cuMemFree_v2", "cuDevicePrimaryCtxRelease_v2"];
        Assert.Equal(expected, calls.Select(call => call.Split(' ')[0]));
        Assert.EndsWith("on 5000", calls[0], StringComparison.Ordinal);
    }

    private static string[] After(string output)
    {
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains("dispose", lines);
        return [.. lines.SkipWhile(line => line != "dispose").Skip(1)];
    }
}
