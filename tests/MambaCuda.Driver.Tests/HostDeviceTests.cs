using MambaCuda.Testing;

namespace MambaCuda.Driver.Tests;

/// <summary>The library over the host device of native/host, each time in a process of its own: this one has no device.</summary>
public class HostDeviceTests
{
    private const string Source = """
        #include "scale.cuh"

        template <typename T, int kThreads>
        __global__ void __launch_bounds__(kThreads) scaled_sum(const T* x, T* sums)
        {
            extern __shared__ T parts[];
            parts[threadIdx.x] = scaled(x[blockIdx.x * kThreads + threadIdx.x]);
            __syncthreads();
            for (int half = kThreads / 2; half > 0; half /= 2) {
                if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
                __syncthreads();
            }
            if (threadIdx.x == 0) sums[blockIdx.x] = parts[0];
        }

        extern "C" __device__ int answer = 42;

        extern "C" __global__ void increment(int* x) { *x += 1; }

        extern "C" __global__ void half_of_them_wait() { if (threadIdx.x < 16) __syncthreads(); }

        extern "C" __global__ void write_at(int* x, int place) { x[place] = 1; }
        """;

    private static KernelProgram Program { get; } = new("tests.cu", Source)
    {
        Headers = new Dictionary<string, string>
        {
            ["scale.cuh"] = "template <typename T> __device__ T scaled(T x) { return x * T(3); }\n",
        },
        NameExpressions = ["scaled_sum<float, 64>"],
        Options = ["--std=c++17"],
    };

    [Fact]
    public Task A_templated_kernel_with_a_header_computes() => Run(Compute);

    [Fact]
    public Task A_graph_repeats_what_was_captured_and_takes_new_arguments() => Run(RunGraph);

    [Fact]
    public Task More_memory_than_there_is_is_refused() => Run(Exhaust, ("MAMBACUDA_HOST_MEMORY", "1000000"));

    [Fact]
    public Task A_launch_that_goes_wrong_says_where() => Run(Fail);

    [Fact]
    public Task A_compile_error_names_file_and_line() => Run(CompileWrongly);

    [Fact]
    public async Task A_process_without_a_GPU_takes_it_when_told_to()
    {
        Assert.SkipWhen(HostDevice.Folder is null, HostDevice.Problem ?? "");
        Assert.SkipWhen(CudaDriver.IsAvailable, "This machine has a GPU.");
        await ChildProcess.Run(TakeIt, new Dictionary<string, string?> { [HostDevice.PathVariable] = null });
    }

    [Theory]
    [InlineData("7.5", 65536)]
    [InlineData("8.0", 166912)]
    [InlineData("9.0", 232448)]
    public Task The_device_is_of_the_generation_that_is_asked_for(string capability, int sharedBytes) =>
        Run(Describe, [("MAMBACUDA_HOST_ARCHITECTURE", capability)], capability, $"{sharedBytes}");

    private static Task<string> Run(Action method, params (string Name, string Value)[] variables) => Run((Delegate)method, variables);

    private static Task<string> Run(Delegate method, (string Name, string Value)[] variables, params string[] arguments)
    {
        Assert.SkipWhen(HostDevice.Folder is null, HostDevice.Problem ?? "");
        Dictionary<string, string?> all = new(HostDevice.Variables(HostDevice.Folder)) { ["CUDA_VISIBLE_DEVICES"] = null };
        foreach ((string name, string value) in variables)
        {
            all[name] = value;
        }

        return ChildProcess.Run(method, all, arguments);
    }

    private static CudaModule Load(CudaContext context, out CompiledProgram compiled)
    {
        compiled = new KernelCompiler().Compile(Program, context.Device.ComputeCapability);
        return context.LoadModule(compiled.Image.Span);
    }

    private static void TakeIt()
    {
        HostDevice.UseWhereThereIsNoGpu();
        Assert.Equal("MambaCuda host device", CudaDevice.Get(0).Name);
        Assert.StartsWith(HostDevice.Folder!, RuntimeCompiler.Search.Path!, StringComparison.Ordinal);
    }

    private static void Compute()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        using CudaModule module = Load(context, out CompiledProgram compiled);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory x = context.Allocate<float>(128);
        using DeviceMemory sums = context.Allocate<float>(2);
        stream.Upload<float>([.. Enumerable.Range(0, 128).Select(i => (float)i)], x);
        CudaKernel kernel = module.GetKernel(compiled.LoweredName("scaled_sum<float, 64>"));
        Assert.Equal([new(0, 8), new(8, 8)], kernel.Parameters!);
        kernel.Launch(stream, new LaunchConfiguration(2, 64, 64 * sizeof(float)), new KernelArguments().Add(x).Add(sums));
        float[] found = new float[2];
        stream.Download<float>(sums, found);
        Assert.Equal([3f * (63 * 64 / 2), 3f * (127 * 128 / 2 - 63 * 64 / 2)], found);

        int[] answer = new int[1];
        stream.Download<int>(module.GetGlobal("answer"), answer);
        Assert.Equal(42, answer[0]);
    }

    private static void RunGraph()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        using CudaModule module = Load(context, out _);
        using CudaStream stream = context.CreateStream();
        using DeviceMemory one = context.Allocate<int>(1);
        using DeviceMemory two = context.Allocate<int>(1);
        stream.Clear(one);
        stream.Clear(two);
        CudaKernel kernel = module.GetKernel("increment");
        using CudaGraph graph = stream.Capture(() =>
        {
            kernel.Launch(stream, new LaunchConfiguration(1, 1), one.Address);
            kernel.Launch(stream, new LaunchConfiguration(1, 1), one.Address);
        });
        Assert.Equal(2, graph.NodeCount);
        Assert.Equal(0, Read(stream, one));
        using CudaGraphInstance instance = graph.Instantiate();
        instance.Launch(stream);
        instance.Launch(stream);
        Assert.Equal(4, Read(stream, one));

        using CudaGraph other = stream.Capture(() =>
        {
            kernel.Launch(stream, new LaunchConfiguration(1, 1), one.Address);
            kernel.Launch(stream, new LaunchConfiguration(1, 1), two.Address);
        });
        Assert.Equal(GraphUpdateOutcome.Success, instance.Update(other));
        instance.Launch(stream);
        Assert.Equal((5, 1), (Read(stream, one), Read(stream, two)));
    }

    private static void Exhaust()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        using (context.Allocate(600_000))
        {
            Assert.Throws<DeviceOutOfMemoryException>(() => context.Allocate(600_000));
            Assert.Equal(400_000, context.Memory.FreeBytes);
            Assert.Equal((600_000, 600_000), (context.AllocatedBytes, context.PeakAllocatedBytes));
        }

        context.Allocate(500_000).Dispose();
        using CudaStream stream = context.CreateStream();
        DeviceMemory ordered = stream.Allocate(200_000);
        Assert.Equal((200_000, 600_000), (context.AllocatedBytes, context.PeakAllocatedBytes));
        context.ResetPeakAllocatedBytes();
        ordered.Free(stream);
        ordered.Dispose();
        context.Allocate(100_000).Dispose();
        DeviceMemory.Adopt(context, 4096, 50_000).Dispose();
        Assert.Equal((0, 200_000), (context.AllocatedBytes, context.PeakAllocatedBytes));
    }

    private static void Fail()
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        using CudaModule module = Load(context, out _);
        using CudaStream stream = context.CreateStream();
        CudaException stuck = Assert.Throws<CudaException>(
            () => module.GetKernel("half_of_them_wait").Launch(stream, new LaunchConfiguration(1, 32)));
        Assert.Equal(CudaError.LaunchFailed, stuck.Error);
        Assert.Contains("threads 0 to 15: wait at __syncthreads", stuck.Message, StringComparison.Ordinal);

        using DeviceMemory x = context.Allocate<int>(4);
        CudaException outside = Assert.Throws<CudaException>(() => module.GetKernel("write_at").Launch(
            stream, new LaunchConfiguration(1, 1), new KernelArguments().Add(x).Add(5)));
        Assert.Equal(CudaError.IllegalAddress, outside.Error);
        Assert.Contains("bytes 4 to 7 behind the end of allocation", outside.Message, StringComparison.Ordinal);

        // Other than on a GPU, the context survives.
        module.GetKernel("write_at").Launch(stream, new LaunchConfiguration(1, 1), new KernelArguments().Add(x).Add(0));
        Assert.Equal(1, Read(stream, x.Slice(0, sizeof(int))));
    }

    private static void CompileWrongly()
    {
        KernelProgram wrong = new("wrong.cu", "#include \"a.cuh\"\nextern \"C\" __global__ void f()\n{\n    missing();\n}\n")
        {
            Headers = new Dictionary<string, string> { ["a.cuh"] = "\n\n__device__ int g() { return absent; }\n" },
        };
        KernelCompilationException exception = Assert.Throws<KernelCompilationException>(
            () => new KernelCompiler().Compile(wrong, new ComputeCapability(9, 0)));
        Assert.Equal(
            [("a.cuh", 3), ("wrong.cu", 4)],
            exception.Diagnostics.Where(found => found.Severity == DiagnosticSeverity.Error).Select(found => (found.File, found.Line)));
    }

    private static void Describe(string capability, string sharedBytes)
    {
        using CudaContext context = CudaDevice.Get(0).RetainPrimaryContext();
        Assert.Equal(capability, context.Device.ComputeCapability.ToString());
        Assert.Equal(sharedBytes, $"{context.Device.Attribute(CudaDeviceAttribute.MaxSharedBytesPerBlockOptIn)}");
        using CudaModule module = Load(context, out CompiledProgram compiled);
        Assert.Equal(context.Device.ComputeCapability.Number, module.GetKernel("increment").BinaryArchitecture);
    }

    private static int Read(CudaStream stream, DeviceSpan memory)
    {
        int[] value = new int[1];
        stream.Download<int>(memory, value);
        return value[0];
    }
}
