namespace MambaCuda.Kernels;

public sealed partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void SelectiveStateUpdateCore(in SelectiveScanForwardArgs args) => SelectiveScanForwardCore(args);
}
