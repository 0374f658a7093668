using MambaCuda.Driver;

namespace MambaCuda.Kernels;

/// <summary>The CUDA backend's: pinned memory, and an event behind the copy.</summary>
internal sealed class CudaHostCopy : HostCopy
{
    private readonly CudaBackend _backend;
    private readonly PinnedMemory _memory;
    private readonly CudaEvent _copied;

    public CudaHostCopy(CudaBackend backend, int byteLength)
    {
        _backend = backend;
        _memory = backend.AllocatePinned(byteLength);
        try
        {
            _copied = backend.Context.CreateEvent(timing: false);
        }
        catch
        {
            _memory.Dispose();
            throw;
        }
    }

    public override void Begin(MatrixView source)
    {
        CheckSource(source, _memory.ByteLength);
        _backend.CopyOut(source, _memory);
        _backend.Stream.Record(_copied);
    }

    public override ReadOnlySpan<byte> Wait()
    {
        _copied.Synchronize();
        _backend.ThrowIfFault();
        return _memory.Elements<byte>();
    }

    protected override void Dispose(bool disposing)
    {
        _copied.Synchronize();
        _copied.Dispose();
        _memory.Dispose();
    }
}
