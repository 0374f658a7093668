using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>The CUDA backend's buffer: device memory, its own or adopted.</summary>
internal sealed class CudaBuffer(CudaBackend backend, DeviceMemory memory) : DeviceBuffer(backend, memory.ByteLength)
{
    /// <summary>The memory.</summary>
    public DeviceMemory Memory { get; } = memory;

    protected override void Dispose(bool disposing) => Memory.Dispose();
}
