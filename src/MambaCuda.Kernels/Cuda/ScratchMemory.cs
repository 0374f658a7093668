using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>
/// Memory that lasts for one operation, between its kernels. One buffer, as large as the largest operation so far needed, so that a steady
/// state allocates nothing; operations follow each other in one stream, so they can share it.
/// </summary>
internal sealed class ScratchMemory(CudaBackend backend) : IDisposable
{
    private DeviceMemory? _memory;

    /// <summary>At least this many bytes, of unknown content, aligned to 256 bytes.</summary>
    public nint Reserve(long byteLength)
    {
        if (_memory is null || _memory.ByteLength < byteLength)
        {
            // What runs may still use the old one; freeing waits for it.
            _memory?.Dispose();
            _memory = null;
            _memory = backend.AllocateMemory(byteLength);
        }

        return _memory.Address;
    }

    public void Dispose() => _memory?.Dispose();
}
