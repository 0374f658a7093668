namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void SelectiveScanForwardCore(in SelectiveScanForwardArgs args) => throw new NotSupportedException();
}
