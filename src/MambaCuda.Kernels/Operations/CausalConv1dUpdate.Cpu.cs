namespace MambaCuda.Kernels;

public sealed partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void CausalConv1dUpdateCore(in CausalConv1dForwardArgs args) => CausalConv1dForwardCore(args);
}
