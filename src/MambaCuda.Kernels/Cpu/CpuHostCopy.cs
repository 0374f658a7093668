namespace MambaCuda.Kernels;

/// <summary>The CPU backend's: its operations are done when they return, and so is the copy.</summary>
internal sealed class CpuHostCopy(CpuBackend backend, int byteLength) : HostCopy
{
    private readonly byte[] _bytes = new byte[byteLength];

    public override void Begin(MatrixView source)
    {
        CheckSource(source, _bytes.Length);
        backend.Download(source, _bytes.AsSpan());
    }

    public override ReadOnlySpan<byte> Wait() => _bytes;

    protected override void Dispose(bool disposing)
    {
    }
}
