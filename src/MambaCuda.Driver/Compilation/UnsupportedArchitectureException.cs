namespace MambaCuda.Driver;

/// <summary>The NVRTC that was found compiles for no architecture that the device can run.</summary>
public sealed class UnsupportedArchitectureException : Exception
{
    internal UnsupportedArchitectureException(ComputeCapability device, RuntimeCompiler compiler) : base(
        $"NVRTC {compiler.Version} compiles for compute capability {compiler.SupportedArchitectures[0]} and later; "
        + $"the device has {device}. An older NVRTC does (CUDA 12 has 5.0 to 7.2, which CUDA 13 dropped): "
        + $"install one and set {LibraryFinder.PathVariable} to its folder.")
    {
        Device = device;
    }

    /// <summary>What the device has.</summary>
    public ComputeCapability Device { get; }
}
