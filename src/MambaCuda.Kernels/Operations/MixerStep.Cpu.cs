namespace MambaCuda.Kernels;

public sealed partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void MixerStepCore(in MixerStepArgs args) => MixerStepByParts(args);
}
