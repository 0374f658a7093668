using System.Text;
using MambaCuda.Testing;

namespace MambaCuda.Driver.Tests;

[Collection(nameof(Gpu))]
public class ExecutionTests(Gpu gpu)
{
    private const int Count = 1000;

    private readonly record struct Sum(nint A, nint B, nint C, int Count);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Vectors_are_added_with_a_struct_or_with_single_arguments(bool asStruct)
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory a = context.Allocate<float>(Count);
        using DeviceMemory b = context.Allocate<float>(Count);
        using DeviceMemory c = context.Allocate<float>(Count);
        float[] values = [.. Enumerable.Range(0, Count).Select(i => (float)i)];
        stream.Upload<float>(values, a);
        stream.Fill(b, 0.5f);
        stream.Fill(c, -1f);
        LaunchConfiguration configuration = new((Count - 1 + 255) / 256, 256);
        if (asStruct)
        {
            module.GetKernel("add_struct").Launch(stream, configuration, new Sum(a.Address, b.Address, c.Address, Count - 1));
        }
        else
        {
            module.GetKernel("add").Launch(stream, configuration, new KernelArguments().Add(a).Add(b.Span).Add(c.Address).Add(Count - 1));
        }

        float[] sums = new float[Count];
        stream.Download<float>(c, sums);
        Assert.Equal([.. values[..^1].Select(value => value + 0.5f), -1f], sums);
    }

    [Fact]
    public async Task Any_thread_can_launch()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory counter = context.Allocate<int>(1);
        stream.Clear(counter);
        stream.Synchronize();
        CudaKernel kernel = module.GetKernel("increment");
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < 100; i++)
            {
                kernel.Launch(stream, new LaunchConfiguration(1, 1), counter.Address);
            }
        })));
        Assert.Equal(800, Read(stream, counter));
    }

    [Fact]
    public void Arguments_that_do_not_fit_are_refused_where_the_driver_tells()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        CudaKernel kernel = module.GetKernel("add");
        Assert.SkipWhen(kernel.Parameters is null, "The driver does not tell the parameters of a kernel.");
        Assert.Equal([new(0, 8), new(8, 8), new(16, 8), new(24, 4)], kernel.Parameters!);
        using CudaStream stream = context.CreateStream();
        ArgumentException exception = Assert.Throws<ArgumentException>(
            () => kernel.Launch(stream, new LaunchConfiguration(1, 1), new KernelArguments().Add(0L).Add(0L).Add(0L).Add(0L)));
        Assert.Equal("add takes 4 argument(s) of 8, 8, 8, 4 bytes, but was given 4 of 8, 8, 8, 8 bytes.", exception.Message);
        Assert.Throws<ArgumentException>(() => kernel.Launch(stream, new LaunchConfiguration(1, 1)));
        Assert.Empty(module.GetKernel("write_nowhere").Parameters!);
    }

    [Fact]
    public void A_refused_launch_tells_which_and_how()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory counter = context.Allocate<int>(1);
        CudaException exception = Assert.Throws<CudaException>(
            () => module.GetKernel("increment").Launch(stream, new LaunchConfiguration(3, 2048), counter.Address));
        Assert.Equal(CudaError.InvalidValue, exception.Error);
        Assert.Equal("launching increment (grid 3x1x1, block 2048x1x1)", exception.Action);
    }

    [Fact]
    public void Events_measure_time_and_order_streams()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        using CudaStream one = context.CreateStream();
        using CudaStream two = context.CreateStream();
        using CudaEvent start = context.CreateEvent();
        using CudaEvent end = context.CreateEvent(blocking: true);
        using DeviceMemory counter = context.Allocate<int>(1);
        one.Clear(counter);
        one.Record(start);
        module.GetKernel("spin").Launch(one, new LaunchConfiguration(1, 1), new KernelArguments().Add(counter).Add(50_000_000L));
        one.Record(end);
        two.WaitFor(end);
        Assert.False(end.IsCompleted);
        Assert.Equal(1, Read(two, counter));
        end.Synchronize();
        Assert.True(end.IsCompleted);

        // 50 M cycles at no more than 5 GHz.
        Assert.InRange(end.ElapsedSince(start), TimeSpan.FromMilliseconds(10), TimeSpan.FromSeconds(5));
        using CudaEvent untimed = context.CreateEvent(timing: false);
        one.Record(untimed);
        untimed.Synchronize();
        Assert.Throws<CudaException>(() => untimed.ElapsedSince(start));
    }

    [Fact]
    public void Streams_have_priorities()
    {
        CudaContext context = gpu.Context;
        (int least, int greatest) = context.StreamPriorities;
        Assert.True(greatest <= least);
        using CudaStream urgent = context.CreateStream(greatest);
        Assert.Equal(greatest, urgent.Priority);
    }

    [Fact]
    public void A_kernel_tells_what_it_takes_and_how_many_fit()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        CudaKernel kernel = module.GetKernel("add");
        Assert.InRange(kernel.Registers, 1, 255);
        Assert.Equal(0, kernel.LocalBytes);
        Assert.Equal(0, kernel.StaticSharedBytes);
        Assert.InRange(kernel.MaxThreadsPerBlock, 32, 1024);
        Assert.Equal(context.Device.ComputeCapability.Number, kernel.BinaryArchitecture);
        int blocks = kernel.MaxActiveBlocksPerMultiprocessor(256);
        Assert.InRange(blocks, 1, 32);
        int limited = kernel.MaxActiveBlocksPerMultiprocessor(256, 40 * 1024);
        Assert.InRange(limited, 1, blocks);
        Assert.Equal(context.Device.Attribute(CudaDeviceAttribute.MaxThreadsPerMultiprocessor) / 256, blocks);
        (int block, int grid) = kernel.SuggestBlockSize();
        Assert.InRange(block, 32, 1024);
        Assert.True(grid >= context.Device.MultiprocessorCount);
        Assert.InRange(kernel.SuggestBlockSize(largestBlock: 64).BlockSize, 32, 64);
    }

    [Fact]
    public void Large_shared_memory_is_had_by_asking()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate<int>(256);
        CudaKernel kernel = module.GetKernel("reverse_through_shared");
        const int Shared = 256 * 64 * sizeof(int);
        int available = context.Device.Attribute(CudaDeviceAttribute.MaxSharedBytesPerBlockOptIn);
        Assert.SkipUnless(available >= Shared, $"The device has {available} bytes of shared memory for a block.");
        LaunchConfiguration configuration = new(1, 256, Shared);
        Assert.Throws<CudaException>(() => kernel.Launch(stream, configuration, memory.Address));
        kernel.MaxDynamicSharedBytes = Shared;
        kernel.PreferredSharedCarveout = 100;
        Assert.Equal((Shared, 100), (kernel.MaxDynamicSharedBytes, kernel.PreferredSharedCarveout));
        int[] values = [.. Enumerable.Range(0, 256)];
        stream.Upload<int>(values, memory);
        kernel.Launch(stream, configuration, memory.Address);
        stream.Download<int>(memory, values);
        Assert.Equal(Enumerable.Range(0, 256).Reverse(), values);
    }

    [Fact]
    public void Blocks_form_clusters()
    {
        CudaContext context = gpu.Context;
        Assert.SkipUnless(context.Device.HasClusterLaunch, "The device has no clusters.");
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate<int>(8);
        CudaKernel kernel = module.GetKernel("read_cluster");
        LaunchConfiguration configuration = new LaunchConfiguration(8, 32) with { Cluster = 4 };
        kernel.Launch(stream, configuration, memory.Address);
        int[] values = new int[8];
        stream.Download<int>(memory, values);
        Assert.Equal([400, 401, 402, 403, 400, 401, 402, 403], values);
        Assert.True(kernel.MaxActiveClusters(configuration) > 0);
        Assert.False(kernel.AllowsLargeClusters);
        kernel.AllowsLargeClusters = true;
        Assert.True(kernel.AllowsLargeClusters);
    }

    [Fact]
    public void Dependent_launches_keep_their_order_alone_and_in_a_graph()
    {
        CudaContext context = gpu.Context;
        Assert.SkipUnless(context.Device.ComputeCapability >= new ComputeCapability(9, 0), "The device has no dependent launches.");
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate<int>(1);
        CudaKernel kernel = module.GetKernel("dependent");
        LaunchConfiguration configuration = new LaunchConfiguration(1, 1) with { ProgrammaticStreamSerialization = true, Priority = 0 };
        void Chain()
        {
            stream.Clear(memory);
            for (int i = 0; i < 20; i++)
            {
                kernel.Launch(stream, configuration, memory.Address);
            }
        }

        Chain();
        Assert.Equal((1 << 20) - 1, Read(stream, memory));
        using CudaGraph graph = stream.Capture(Chain);
        using CudaGraphInstance instance = graph.Instantiate();
        stream.Fill(memory, 77u);
        instance.Launch(stream);
        Assert.Equal((1 << 20) - 1, Read(stream, memory));
    }

    [Fact]
    public void A_cooperative_launch_runs_all_blocks_at_once()
    {
        CudaContext context = gpu.Context;
        Assert.SkipUnless(context.Device.Attribute(CudaDeviceAttribute.CooperativeLaunch) != 0, "The device has no cooperative launches.");
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        CudaKernel kernel = module.GetKernel("meet");
        int blocks = kernel.MaxActiveBlocksPerMultiprocessor(32) * context.Device.MultiprocessorCount;
        using DeviceMemory arrived = context.Allocate<int>(1);
        using DeviceMemory seen = context.Allocate<int>(blocks);
        stream.Clear(arrived);
        stream.Clear(seen);
        KernelArguments arguments = new KernelArguments().Add(arrived).Add(seen);
        kernel.Launch(stream, new LaunchConfiguration(blocks, 32) with { Cooperative = true }, arguments);
        int[] values = new int[blocks];
        stream.Download<int>(seen, values);
        Assert.All(values, value => Assert.Equal(1, value));
        LaunchConfiguration tooMany = new LaunchConfiguration(blocks + 1, 32) with { Cooperative = true };
        Assert.Throws<CudaException>(() => kernel.Launch(stream, tooMany, arguments));
    }

    [Fact]
    public void A_graph_runs_again_and_again_and_takes_over_other_arguments()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory one = context.Allocate<int>(1);
        using DeviceMemory two = context.Allocate<int>(1);
        stream.Clear(one);
        stream.Clear(two);
        CudaKernel kernel = module.GetKernel("increment");
        CudaGraph Increments(DeviceMemory counter, int times) => stream.Capture(() =>
        {
            Assert.True(stream.IsCapturing);
            for (int i = 0; i < times; i++)
            {
                kernel.Launch(stream, new LaunchConfiguration(1, 1), counter.Address);
            }
        });

        using CudaGraph first = Increments(one, 3);
        using CudaGraph second = Increments(two, 3);
        using CudaGraph longer = Increments(two, 4);
        Assert.False(stream.IsCapturing);
        Assert.Equal(3, first.NodeCount);
        Assert.Equal(0, Read(stream, one));

        using CudaGraphInstance instance = first.Instantiate();
        instance.Upload(stream);
        instance.Launch(stream);
        instance.Launch(stream);
        Assert.Equal((6, 0), (Read(stream, one), Read(stream, two)));

        Assert.Equal(GraphUpdateOutcome.Success, instance.Update(second));
        instance.Launch(stream);
        Assert.Equal((6, 3), (Read(stream, one), Read(stream, two)));

        Assert.Equal(GraphUpdateOutcome.TopologyChanged, instance.Update(longer));
        instance.Launch(stream);
        Assert.Equal((6, 6), (Read(stream, one), Read(stream, two)));
    }

    [Fact]
    public void A_capture_that_fails_leaves_the_stream_as_it_was()
    {
        CudaContext context = gpu.Context;
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate<int>(1);
        Assert.Throws<InvalidDataException>(() => stream.Capture(() =>
        {
            stream.Clear(memory);
            throw new InvalidDataException();
        }));
        Assert.False(stream.IsCapturing);
        CudaException exception = Assert.Throws<CudaException>(() => stream.Capture(stream.Synchronize));
        Assert.Equal(CudaError.StreamCaptureUnsupported, exception.Error);
        Assert.False(stream.IsCapturing);
        stream.Fill(memory, 3u);
        Assert.Equal(3, Read(stream, memory));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Modules_come_from_cubin_and_from_PTX(bool isPtx)
    {
        CudaContext context = gpu.Context;
        GpuArchitecture architecture = new(context.Device.ComputeCapability, isPtx);
        CompiledProgram program = Nvrtc.Compiler.Compile(Gpu.Kernels, architecture);
        using CudaModule module = context.LoadModule(program.Image.Span);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory memory = context.Allocate<float>(4);
        module.GetKernel(program.LoweredName("fill_with<float>")).Launch(
            stream, new LaunchConfiguration(1, 4), new KernelArguments().Add(memory).Add(2.5f));
        float[] values = new float[4];
        stream.Download<float>(memory, values);
        Assert.Equal([2.5f, 2.5f, 2.5f, 2.5f], values);

        using DeviceMemory table = module.GetGlobal("table");
        float[] read = new float[5];
        stream.Download<float>(table, read);
        Assert.Equal([1, 2, 3, 4, 5], read);
        using DeviceMemory answer = module.GetGlobal("answer");
        Assert.Equal(42, Read(stream, answer));
    }

    [Fact]
    public void What_cannot_be_loaded_or_found_says_why()
    {
        CudaContext context = gpu.Context;
        CudaException broken = Assert.Throws<CudaException>(() => context.LoadModule(
            Encoding.UTF8.GetBytes(".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k() { bogus.instruction; ret; }\n")));
        Assert.Equal("CUDA_ERROR_INVALID_PTX", broken.ErrorName);
        Assert.Contains("ptxas", broken.Message, StringComparison.Ordinal);
        Assert.Throws<CudaException>(() => context.LoadModule("no module at all"u8));
        Assert.Throws<ArgumentException>(() => context.LoadModule([]));

        ComputeCapability device = context.Device.ComputeCapability;
        ComputeCapability other = Nvrtc.Compiler.SupportedArchitectures.First(one => one.Major != device.Major);
        byte[] foreign = Nvrtc.Compiler.Compile(Gpu.Kernels, new GpuArchitecture(other)).Image.ToArray();
        CudaException wrong = Assert.Throws<CudaException>(() => context.LoadModule(foreign));
        Assert.Equal(CudaError.NoBinaryForGpu, wrong.Error);
        Assert.Contains($"The device has compute capability {device}", wrong.Message, StringComparison.Ordinal);

        using CudaModule module = Gpu.Load(context);
        CudaException absent = Assert.Throws<CudaException>(() => module.GetKernel("absent"));
        Assert.Equal((CudaError.NotFound, "looking for the kernel absent in a module"), (absent.Error, absent.Action));
        Assert.Throws<CudaException>(() => module.GetGlobal("absent"));
        CudaKernel kernel = module.GetKernel("increment");
        module.Dispose();
        Assert.Throws<ObjectDisposedException>(() => kernel.Registers);
    }

    [Fact]
    public void Launching_allocates_nothing()
    {
        CudaContext context = gpu.Context;
        using CudaModule module = Gpu.Load(context);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory counter = context.Allocate<int>(1);
        using PinnedMemory pinned = context.AllocatePinned(4);
        CudaKernel kernel = module.GetKernel("increment");
        KernelArguments arguments = new();
        void Step()
        {
            arguments.Clear();
            kernel.Launch(stream, new LaunchConfiguration(1, 1), arguments.Add(counter));
            kernel.Launch(stream, new LaunchConfiguration(1, 1), counter.Address);
            stream.Copy(counter, pinned);
            stream.Synchronize();
        }

        Step();
        Step();
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 100; i++)
            {
                Step();
            }
        }));
    }

    private static int Read(CudaStream stream, DeviceMemory memory)
    {
        int[] value = new int[1];
        stream.Download<int>(memory, value);
        return value[0];
    }
}
