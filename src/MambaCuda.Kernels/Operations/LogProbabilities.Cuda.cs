namespace MambaCuda.Kernels;

public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void LogProbabilitiesCore(in LogProbabilitiesArgs args) => throw new NotSupportedException();
}
