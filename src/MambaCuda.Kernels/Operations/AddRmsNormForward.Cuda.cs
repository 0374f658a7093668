namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void AddRmsNormForwardCore(in AddRmsNormForwardArgs args) => throw new NotSupportedException();
}
