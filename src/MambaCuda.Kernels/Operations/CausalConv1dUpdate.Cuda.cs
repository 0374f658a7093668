namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void CausalConv1dUpdateCore(in CausalConv1dForwardArgs args) => throw new NotSupportedException();
}
