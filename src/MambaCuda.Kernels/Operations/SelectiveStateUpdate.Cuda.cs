namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void SelectiveStateUpdateCore(in SelectiveScanForwardArgs args) => throw new NotSupportedException();
}
