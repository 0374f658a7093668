namespace MambaCuda.Kernels;

public sealed partial class CpuBackend
{
    private HostBuffer? _scratch;

    /// <summary>
    /// Memory for one operation to compute in, at least so large and aligned to a cache line; the next operation's may be the same. Kept,
    /// because fresh memory costs a page fault each 4 KB: the operations that ask for it bound it by their panels, not by the batch, but for
    /// the scan's backward pass, whose shares of the gradients of B and C are about as large as one activation.
    /// </summary>
    private HostBuffer Scratch(long bytes)
    {
        if (_scratch is null || _scratch.ByteLength < bytes)
        {
            _scratch?.Dispose();
            _scratch = null;
            _scratch = new HostBuffer(this, new NativeHostMemory(bytes), 0, bytes, owned: true);
        }

        return _scratch;
    }
}
