using System.Runtime.InteropServices;

namespace MambaCuda.Driver.Tests;

[Collection(nameof(Gpu))]
public class MemoryTests(Gpu gpu)
{
    [Fact]
    public void Copies_both_ways_and_on_the_device()
    {
        CudaContext context = gpu.Context;
        using CudaStream stream = context.CreateStream();
        using DeviceMemory one = context.Allocate<int>(1000);
        using DeviceMemory two = context.Allocate<int>(1000);
        int[] sent = [.. Enumerable.Range(0, 1000)];
        int[] back = new int[1000];
        stream.Upload<int>(sent, one);
        stream.Copy(one, two);
        stream.Download<int>(two, back);
        Assert.Equal(sent, back);

        // Parts of it, and nothing beside them.
        stream.Copy(one.Slice(400, 40), two.Slice(0, 40));
        stream.Clear(two.Slice(80, 8));
        stream.Download<int>(two, back);
        Assert.Equal([.. sent[100..110], .. sent[10..20], 0, 0, .. sent[22..]], back);
    }

    [Fact]
    public void Fills_of_every_width()
    {
        CudaContext context = gpu.Context;
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate(16);
        stream.Fill(memory, (byte)0x11);
        stream.Fill(memory.Slice(2, 4), (ushort)0x2233);
        stream.Fill(memory.Slice(8, 4), 0x44556677u);
        stream.Fill(memory.Slice(12, 4), 1f);
        byte[] bytes = new byte[16];
        stream.Download<byte>(memory, bytes);
        Assert.Equal("11113322332211117766554400" + "00803F", Convert.ToHexString(bytes));
    }

    [Fact]
    public void Pinned_memory_is_copied_while_the_host_goes_on()
    {
        CudaContext context = gpu.Context;
        using CudaStream stream = context.CreateStream();
        using CudaModule module = Gpu.Load(context);
        using DeviceMemory counter = context.Allocate<int>(1);
        using DeviceMemory memory = context.Allocate(1 << 20);
        using PinnedMemory source = context.AllocatePinned(1 << 20);
        using PinnedMemory destination = context.AllocatePinned(1 << 20);
        source.Elements<byte>().Fill(7);
        destination.Elements<byte>().Clear();

        // The kernel holds the stream for a while; the copies behind it must not have run when the calls return.
        module.GetKernel("spin").Launch(stream, new LaunchConfiguration(1, 1), new KernelArguments().Add(counter).Add(200_000_000L));
        stream.Copy(source, memory);
        stream.Copy(memory, destination);
        Assert.False(stream.IsCompleted);
        Assert.Equal(0, destination.Elements<byte>()[^1]);
        stream.Synchronize();
        Assert.True(stream.IsCompleted);
        Assert.Equal(-1, destination.Elements<byte>().IndexOfAnyExcept((byte)7));
    }

    [Fact]
    public unsafe void The_callers_memory_can_be_pinned_and_stays_the_callers()
    {
        CudaContext context = gpu.Context;
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate(4096);
        byte* own = (byte*)NativeMemory.AlignedAlloc(4096, 4096);
        new Span<byte>(own, 4096).Fill(9);
        using (PinnedMemory pinned = context.Pin((nint)own, 4096))
        {
            Assert.NotEqual(0, pinned.DeviceAddress);
            stream.Copy(pinned, memory);
            stream.Synchronize();
            CudaException exception = Assert.Throws<CudaException>(() => context.Pin((nint)own, 4096));
            Assert.Equal(CudaError.HostMemoryAlreadyRegistered, exception.Error);
        }

        own[0] = 1;
        context.Pin((nint)own, 4096).Dispose();
        NativeMemory.AlignedFree(own);
        byte[] read = new byte[4096];
        stream.Download<byte>(memory, read);
        Assert.Equal(-1, read.AsSpan().IndexOfAnyExcept((byte)9));
    }

    [Fact]
    public void Freed_memory_of_a_pool_is_handed_out_again()
    {
        CudaContext context = gpu.Context;
        Assert.SkipUnless(context.Device.HasMemoryPools, "The device has no memory pools.");
        const long Size = 64L << 20;
        using CudaStream stream = context.CreateStream();
        using MemoryPool pool = context.Device.CreateMemoryPool();
        pool.ReleaseThreshold = long.MaxValue;
        Assert.Equal(long.MaxValue, pool.ReleaseThreshold);
        DeviceMemory first = pool.Allocate(stream, Size);
        Assert.InRange(pool.UsedBytes, Size, 2 * Size);
        nint address = first.Address;
        first.Dispose();
        DeviceMemory second = pool.Allocate(stream, Size);
        Assert.Equal(address, second.Address);
        second.Free(stream);
        Assert.Throws<ObjectDisposedException>(() => second.Address);
        stream.Synchronize();
        Assert.Equal(0, pool.UsedBytes);
        Assert.InRange(pool.ReservedBytes, Size, 4 * Size);
        Assert.InRange(pool.PeakUsedBytes, Size, 2 * Size);
        pool.TrimTo(0);
        Assert.Equal(0, pool.ReservedBytes);
    }

    [Fact]
    public void Stream_ordered_memory_of_the_default_pool_works()
    {
        CudaContext context = gpu.Context;
        Assert.SkipUnless(context.Device.HasMemoryPools, "The device has no memory pools.");
        int[] read = new int[256];
        using CudaStream stream = context.CreateStream();
        using (DeviceMemory memory = stream.Allocate(1024))
        {
            stream.Fill(memory, 5u);
            stream.Download<int>(memory, read);
        }

        Assert.All(read, value => Assert.Equal(5, value));
        Assert.True(context.Device.DefaultMemoryPool.PeakUsedBytes >= 1024);
    }

    [Fact]
    public void Too_much_is_an_error_of_its_own_that_tells_how_much()
    {
        CudaContext context = gpu.Context;
        const long TooMuch = 1L << 46;
        DeviceOutOfMemoryException exception = Assert.Throws<DeviceOutOfMemoryException>(() => context.Allocate(TooMuch));
        Assert.Equal(TooMuch, exception.RequestedBytes);
        Assert.Equal(context.Memory.TotalBytes, exception.TotalBytes);
        Assert.InRange(exception.FreeBytes, 1, exception.TotalBytes);
        Assert.Equal("CUDA_ERROR_OUT_OF_MEMORY", exception.ErrorName);
        Assert.Contains("Asked for 70,368,744,177,664 bytes", exception.Message, StringComparison.Ordinal);
        using CudaStream stream = context.CreateStream();
        Assert.Throws<DeviceOutOfMemoryException>(() => stream.Allocate(TooMuch));
        using DeviceMemory still = context.Allocate(100);
    }

    [Fact]
    public void Memory_of_length_zero_is_nothing_unusual()
    {
        CudaContext context = gpu.Context;
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate(0);
        using PinnedMemory pinned = context.AllocatePinned(0);
        Assert.Equal(0, memory.ByteLength);
        stream.Clear(memory);
        stream.Copy(pinned, memory);
        stream.Copy(memory, memory);
        stream.Upload<int>([], memory);
        stream.Download<int>(memory, []);
    }

    [Fact]
    public void Offsets_pass_32_bits()
    {
        CudaContext context = gpu.Context;
        const long Size = (4L << 30) + 4096;
        Assert.SkipUnless(context.Memory.FreeBytes > Size * 2, "The device has too little free memory.");
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate(Size);
        stream.Fill(memory, 1u);
        stream.Fill(memory.Slice(Size - 8, 8), 2u);
        int[] ends = new int[4];
        stream.Download(memory.Slice(Size - 16, 16), ends.AsSpan());
        Assert.Equal([1, 1, 2, 2], ends);
        stream.Download(memory.Slice(Size - 16 - (1L << 32), 16), ends.AsSpan());
        Assert.Equal([1, 1, 1, 1], ends);
    }
}
