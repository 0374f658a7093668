namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void CausalConv1dForwardCore(in CausalConv1dForwardArgs args) => throw new NotSupportedException();
}
