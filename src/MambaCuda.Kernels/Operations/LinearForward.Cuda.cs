namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void LinearForwardCore(in LinearForwardArgs args) => throw new NotSupportedException();
}
