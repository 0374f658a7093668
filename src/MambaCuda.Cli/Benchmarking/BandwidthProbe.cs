using MambaCuda.Driver;
using MambaCuda.Kernels;

namespace MambaCuda.Cli;

/// <summary>Kernels that only read or copy memory: what they reach is the ceiling of everything that is limited by memory.</summary>
internal sealed class BandwidthProbe : IDisposable
{
    private const int Threads = 512;
    private const int VectorsPerThread = 4;
    private const int VectorBytes = 16;

    private readonly CudaBackend _backend;
    private readonly CudaModule _module;
    private readonly CudaKernel _read, _copy;
    private readonly DeviceMemory _source, _destination;
    private readonly KernelArguments _readArguments, _copyArguments;
    private readonly LaunchConfiguration _configuration;

    public BandwidthProbe(CudaBackend backend, long byteLength)
    {
        _backend = backend;
        _module = ProbeModule.Load(backend.Context, "bandwidth.cu");
        _read = _module.GetKernel("read_memory");
        _copy = _module.GetKernel("copy_memory");
        _source = backend.Context.Allocate(byteLength);
        _destination = backend.Context.Allocate(byteLength);
        backend.Stream.Clear(_source);
        backend.Stream.Clear(_destination);
        long vectors = byteLength / VectorBytes;
        const int VectorsPerBlock = Threads * VectorsPerThread;
        _configuration = new LaunchConfiguration(checked((int)((vectors + VectorsPerBlock - 1) / VectorsPerBlock)), Threads);
        _readArguments = new KernelArguments().Add(_source).Add(vectors).Add(_destination);
        _copyArguments = new KernelArguments().Add(_source).Add(vectors).Add(_destination);
    }

    public void Read() => _read.Launch(_backend.Stream, _configuration, _readArguments);

    public void Copy() => _copy.Launch(_backend.Stream, _configuration, _copyArguments);

    public void Dispose()
    {
        _source.Dispose();
        _destination.Dispose();
        _module.Dispose();
    }
}
