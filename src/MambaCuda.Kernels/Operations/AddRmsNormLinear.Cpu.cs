namespace MambaCuda.Kernels;

public sealed partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AddRmsNormLinearCore(in AddRmsNormLinearArgs args) => AddRmsNormThenLinear(args);
}
