namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void EmbeddingForwardCore(in EmbeddingForwardArgs args) => throw new NotSupportedException();
}
