using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>
/// A kernel of native/probes/arithmetic.cu that only computes, in registers, for about a millisecond: what it reaches is the ceiling of
/// everything that is limited by that arithmetic.
/// </summary>
internal sealed class ArithmeticProbe : Benchmark
{
    private const string Source = "arithmetic.cu";
    private const int MostSteps = 1 << 16;
    private const int BlocksOnEach = 4;
    private const int Threads = 256;
    private const int WarpThreads = 32;
    private const double EnoughMilliseconds = 0.5;

    private readonly CudaBackend _backend;
    private readonly CudaModule _module;
    private readonly CudaKernel _kernel;
    private readonly DeviceMemory _never;
    private readonly LaunchConfiguration _configuration;
    private readonly double _operationsOfStep;
    private KernelArguments _arguments;
    private int _steps;

    private ArithmeticProbe(CudaBackend backend, string kernel, string suffix, double operationsOfThreadAndStep)
    {
        _backend = backend;
        _module = ProbeModule.Load(backend.Context, Source, suffix);
        _kernel = _module.GetKernel(kernel);
        _never = backend.Context.Allocate(sizeof(float));
        int blocks = BlocksOnEach * backend.Context.Device.MultiprocessorCount;
        _configuration = new LaunchConfiguration(blocks, Threads);
        _operationsOfStep = operationsOfThreadAndStep * blocks * Threads;
        _arguments = Arguments(steps: 1);
        LengthenUntilEnough();
    }

    public override long Bytes => 0;

    public override double Operations => _operationsOfStep * _steps;

    public override long Elements => 0;

    public override BenchCeiling Ceiling => BenchCeiling.None;

    /// <summary>Exponentials by the special-function units.</summary>
    public static ArithmeticProbe Exponentials(CudaBackend backend) => new(backend, "exponentials", "", 8);

    /// <summary>Multiply-adds in float32, two operations each.</summary>
    public static ArithmeticProbe MultiplyAdds(CudaBackend backend) => new(backend, "multiply_adds", "", 2 * 8);

    /// <summary>Products of fp16 matrices by tensor cores: wgmma where card and compiler know it, mma.sync elsewhere.</summary>
    public static ArithmeticProbe Products(CudaBackend backend)
    {
        bool hasWgmma = backend.Context.Device.ComputeCapability is { Major: 9, Minor: 0 } && RuntimeCompiler.Load().Version >= new CudaVersion(12, 0);
        return hasWgmma
            ? new ArithmeticProbe(backend, "wide_products", "a", 4 * 2.0 * 64 * 256 * 16 / (4 * WarpThreads))
            : new ArithmeticProbe(backend, "products", "", 8 * 2.0 * 16 * 8 * 16 / WarpThreads);
    }

    public override void Run(int copy) => _kernel.Launch(_backend.Stream, _configuration, _arguments);

    public override void Dispose()
    {
        _never.Dispose();
        _module.Dispose();
    }

    /// <summary>Twice the steps until a launch takes long enough to be timed; a slow device is content with few.</summary>
    private void LengthenUntilEnough()
    {
        using CudaEvent start = _backend.Context.CreateEvent(), end = _backend.Context.CreateEvent();
        Run(copy: 0);
        while (true)
        {
            _backend.Stream.Record(start);
            Run(copy: 0);
            _backend.Stream.Record(end);
            _backend.Synchronize();
            if (end.ElapsedSince(start).TotalMilliseconds >= EnoughMilliseconds || _steps >= MostSteps)
            {
                return;
            }

            _arguments = Arguments(2 * _steps);
        }
    }

    private KernelArguments Arguments(int steps)
    {
        _steps = steps;
        return new KernelArguments().Add(steps).Add(_never);
    }
}
